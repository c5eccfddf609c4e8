"""A data set of images that lies on a hub: fetched once, at one revision, and then as good as any folder."""

import json
import subprocess
from pathlib import Path

import pytest

from spavl.records import Candidate, DownloadedImage, Reject
from spavl.store import RunFolder
from tests.data.sourcing.test_sources import TAXONOMY, as_parquet_of_images, as_tars, png
from tests.support.hub import FakeHub, with_hub


def build(hub: FakeHub, folder: Path, revision: str = "", **candidates: object) -> subprocess.CompletedProcess[str]:
    (folder / "taxonomy.toml").write_text(TAXONOMY)
    given = "".join(f"{name} = {json.dumps(value)}\n" for name, value in candidates.items())
    (folder / "my.toml").write_text(
        f'[taxonomy]\nfile = "{folder}/taxonomy.toml"\n[sourcing]\nsource = "hub/someone/set{revision}"\n{given}'
    )
    words = "build", str(folder / "my.toml"), "--out", str(folder / "run"), "--until", "downloads"
    process = with_hub(hub, folder / "home", *words)
    try:
        code = process.wait(120)
    finally:
        process.kill()
    return subprocess.CompletedProcess(words, code, process.stdout, process.stderr)


def made(folder: Path) -> tuple[list[Candidate], list[DownloadedImage], list[Reject]]:
    with RunFolder(folder / "run") as run:
        rejects = [row for stage in ("sourcing", "downloads") for row in run.read(stage, Reject)]
        return list(run.read("sourcing", Candidate)), list(run.read("downloads", DownloadedImage)), rejects


def filled(hub: FakeHub, folder: Path) -> dict[str, bytes]:
    """What is to be fetched of the hub's files, and beside it what is not."""
    files = [*as_tars(folder).iterdir(), *as_parquet_of_images(folder).iterdir()]
    wanted = {f"some/where/{file.name}": file.read_bytes() for file in files}
    wanted |= {"loose/1.png": png(1), "loose/1.txt": b"a loose red ball"}
    hub.files |= wanted
    hub.files |= {"README.md": b"# a card", "more.tar.gz": b"\x1f\x8b", "more.zip": b"PK"}
    return wanted


def test_a_data_set_on_a_hub_is_fetched_once_and_searched(tmp_path: Path) -> None:
    with FakeHub() as hub:
        wanted = filled(hub, tmp_path)
        done = build(hub, tmp_path)
        assert done.returncode == 0, done.stderr
        assert hub.downloads == dict.fromkeys(wanted, 1), "each once, and nothing that cannot be read"
        assert "2 packed archives were left on the hub (unpack these" in done.stderr
        candidates, photos, rejects = made(tmp_path)
        assert {row.leaf for row in candidates} == {"red", "绿"} and len(photos) == len(candidates) and not rejects
        loose = [row for row in candidates if not row.url]
        assert [Path(row.source).name for row in loose] == ["1.png"]
        assert all("/hub/someone/set/some/where/" in row.source for row in candidates if row not in loose)
        notes = json.loads((tmp_path / "run" / "stages" / "sourcing.json").read_text())["notes"]
        assert (notes["revision"], notes["packed_on_hub"]) == ("1" * 40, 2)
    # The hub is gone now, and is not needed: what was fetched is what is searched.
    again = build(hub, tmp_path, per_leaf=1)
    assert again.returncode == 0, again.stderr
    assert [row.rank for row in made(tmp_path)[0]] == [0, 0]


def test_a_data_set_is_held_to_a_revision_and_another_is_another_one(tmp_path: Path) -> None:
    asked = list[str]()

    class Asked(FakeHub):
        def answer(self, method: str, path: str, body: bytes) -> object:
            asked.append(path)
            return super().answer(method, path, body)

    with Asked() as hub:
        hub.files |= {"loose/1.png": png(1), "loose/1.txt": b"a loose red ball"}
        for name in ("@v1", "@v2", "@v2", ""):
            done = build(hub, tmp_path, name)
            assert done.returncode == 0, done.stderr
    told = [path for path in asked if path.startswith("/api/datasets/someone/set") and "/tree/" not in path]
    assert [path.partition("/revision/")[2] for path in told if "1" * 40 not in path] == ["v1", "v2", ""]


def test_a_fetch_that_broke_off_goes_on(tmp_path: Path) -> None:
    with FakeHub() as hub:
        wanted = filled(hub, tmp_path)
        hub.refusals["some/where/1.tar"] = 1
        broken = build(hub, tmp_path)
        assert broken.returncode == 2 and "the hub did not give this data set" in broken.stderr
        done = build(hub, tmp_path)
        assert done.returncode == 0, done.stderr
        assert hub.downloads == dict.fromkeys(wanted, 1), "what had come is not fetched again"


def test_a_folder_of_images_on_a_hub_is_searched_by_the_table_beside_them(tmp_path: Path) -> None:
    with FakeHub() as hub:
        lines = [json.dumps({"file_name": f"{number}.PNG", "text": "a red ball"}) for number in range(3)]
        hub.files |= {f"train/{number}.PNG": png(number) for number in range(4)}
        hub.files["train/metadata.jsonl"] = "\n".join(lines).encode()
        done = build(hub, tmp_path)
        assert done.returncode == 0, done.stderr
        candidates, photos, _ = made(tmp_path)
        assert [Path(row.source).name for row in candidates] == ["0.PNG", "1.PNG", "2.PNG"] and len(photos) == 3


def test_a_data_set_of_more_than_one_wants_is_not_fetched(tmp_path: Path) -> None:
    with FakeHub() as hub:
        filled(hub, tmp_path)
        done = build(hub, tmp_path, max_gb=1e-6)
        assert done.returncode == 2 and "more than sourcing.max_gb = 1e-06" in done.stderr
        assert not hub.downloads
        assert build(hub, tmp_path, max_gb=1e-3).returncode == 0


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"README.md": b"# a card", "notes.txt": b"no caption"}, "no tables, tars or images, but 2 other files"),
        ({"../../out.parquet": b"PAR1"}, "the hub did not give this data set"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_told(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with FakeHub() as hub:
        hub.files |= files
        done = build(hub, tmp_path)
        assert done.returncode == 2 and says in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(tmp_path.rglob("out.parquet"))
