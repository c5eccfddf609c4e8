"""Sources of images in no order: streamed, searched by their captions, and never trusted."""

import asyncio
import csv
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from spavl.data.sourcing.catalogue import Catalogue
from spavl.data.sourcing.readers.entry import RowLimits, SkippedEntry, SourceEntry, leads_out
from spavl.data.sourcing.shards import SourceShard, shards_of
from spavl.errors import ConfigError, GateError, ProviderError
from spavl.pipeline.build import run_build
from spavl.pipeline.settings import read_config
from spavl.records import Candidate, DownloadedImage, Image, Reject
from spavl.store import RunFolder
from spavl.terminal.progress import Screen

TAXONOMY = """
name = "two leaves"
version = 1
[[domain]]
name = "d"
[[domain.group]]
name = "g"
leaves = [{ name = "red", terms = ["red ball", "crimson"] }, { name = "绿", terms = ["绿球"] }]
"""
CAPTIONS = ("a red ball", "the ball is red", "a blue ball", "crimson paint", "一个绿球", "绿色的东西", "")


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Pillow.linear_gradient("L").resize((64, 64)).rotate(23 * number).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def walk(
    folder: Path, source: Path, until: str = "selection", *, filters: dict[str, Any] | None = None, **candidates: Any
) -> dict[str, list[Any]]:
    """The rows and rejects of a pipeline from a source."""
    (folder / "taxonomy.toml").write_text(TAXONOMY)
    table = {
        "taxonomy": {"file": str(folder / "taxonomy.toml")},
        "sourcing": {"source": str(source), **candidates},
        "downloads": filters or {},
        "selection": {"per_leaf": 3},
    }
    asyncio.run(run_build(read_config(table, {}, "a test"), folder / "run", until, Screen()))
    with RunFolder(folder / "run") as run:
        kinds = {"sourcing": Candidate, "downloads": DownloadedImage, "selection": Image}
        made: dict[str, list[Any]] = {
            stage: list(run.read(stage, kind)) for stage, kind in kinds.items() if run.manifest(stage)
        }
        made["rejects"] = [row for stage in kinds if run.manifest(stage) for row in run.read(stage, Reject)]
        return made


# --- one source in many forms


def web(number: int) -> str:
    return f"https://images.example/{number}.jpg"


def as_flat_folder(folder: Path) -> Path:
    for number, caption in enumerate(CAPTIONS):
        (folder / "in" / "no order").mkdir(parents=True, exist_ok=True)
        (folder / "in" / "no order" / f"{number}.png").write_bytes(png(number))
        (folder / "in" / "no order" / f"{number}.txt").write_text(caption)
    return folder / "in"


def add(tar: tarfile.TarFile, name: str, data: bytes, **about: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in about.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(data))


def as_tars(folder: Path) -> Path:
    (folder / "tars").mkdir()
    for shard in range(2):
        with tarfile.open(folder / "tars" / f"{shard}.tar", "w") as tar:
            for number in range(shard, len(CAPTIONS), 2):
                add(tar, f"{number:03}.png", png(number))
                said = {"caption": CAPTIONS[number], "license": "CC-BY-4.0", "url": web(number)}
                add(tar, f"{number:03}.json", json.dumps(said).encode())
    return folder / "tars"


def as_parquet_of_images(folder: Path) -> Path:
    rows = [
        {"image": {"bytes": png(k), "path": f"{k}.png"}, "caption": said, "image_url": web(k)}
        for k, said in enumerate(CAPTIONS)
    ]
    (folder / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "train-00000-of-00001.parquet", row_group_size=3)
    return folder / "data"


def as_data_set(folder: Path) -> Path:
    import datasets

    rows = {"image": [png(number) for number in range(len(CAPTIONS))], "text": list(CAPTIONS)}
    made = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    (folder / "set").mkdir()
    made.to_parquet(folder / "set" / "train.parquet")
    return folder / "set"


def as_saved_data_set(folder: Path) -> Path:
    import datasets

    rows = {"image": [png(number) for number in range(len(CAPTIONS))], "text": list(CAPTIONS)}
    made = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    datasets.DatasetDict({"train": made.select(range(5)), "test": made.select(range(5, 7))}).save_to_disk(
        folder / "saved", num_shards={"train": 2, "test": 1}
    )
    return folder / "saved"


def as_arrow_file(folder: Path) -> Path:
    """As other tools write it: with an end, and in batches."""
    table = pa.table(
        {"image": [png(k) for k in range(len(CAPTIONS))], "caption": pa.array(CAPTIONS).dictionary_encode()}
    )
    with pa.ipc.new_file(folder / "one.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return folder / "one.arrow"


def as_image_folder(folder: Path, kind: str = "csv") -> Path:
    """As `datasets` reads it; what is said of the last image stands nowhere."""
    (folder / "set" / "in").mkdir(parents=True)
    rows = [{"file_name": f"in/{k}.png", "text": said} for k, said in enumerate(CAPTIONS)]
    for row, number in zip(rows, range(len(CAPTIONS)), strict=True):
        (folder / "set" / row["file_name"]).write_bytes(png(number))
    if kind == "csv":
        write_csv(folder / "set" / "metadata.csv", rows[:-1])
    elif kind == "jsonl":
        (folder / "set" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows[:-1])))
    else:
        pq.write_table(pa.Table.from_pylist(rows[:-1]), folder / "set" / "metadata.parquet")
    return folder / "set"


def as_image_folder_by_lines(folder: Path) -> Path:
    return as_image_folder(folder, "jsonl")


def as_image_folder_by_parquet(folder: Path) -> Path:
    return as_image_folder(folder, "parquet")


FORMS: tuple[Callable[[Path], Path], ...] = (
    as_flat_folder,
    as_tars,
    as_parquet_of_images,
    as_data_set,
    as_saved_data_set,
    as_arrow_file,
    as_image_folder,
    as_image_folder_by_lines,
    as_image_folder_by_parquet,
)


@pytest.mark.parametrize("form", FORMS)
def test_a_leaf_finds_its_images_in_any_form(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    made = walk(tmp_path, form(tmp_path))
    found = [(row.leaf, row.caption) for row in made["sourcing"]]
    assert found[0][1] in CAPTIONS[:2] and found[1][1] == "crimson paint", "terms take turns"
    assert sorted(found) == sorted(
        [("red", "a red ball"), ("red", "the ball is red"), ("red", "crimson paint"), ("绿", "一个绿球")]
    )
    assert all(row.score and row.score > 0 for row in made["sourcing"])
    by_caption = {image.caption: image.candidate_id for image in made["selection"]}
    assert len(by_caption) == 4
    originals = {row.candidate_id: row.original for row in made["downloads"]}
    for caption, candidate in by_caption.items():
        assert originals[candidate] == sha256(png(CAPTIONS.index(caption))).hexdigest(), "another image was fetched"
    for row in made["sourcing"]:
        known = form in (as_tars, as_parquet_of_images)
        assert row.url == (web(CAPTIONS.index(row.caption)) if known else "")


URLS = [{"URL": web(k), "TEXT": said} for k, said in enumerate(CAPTIONS)]


def write_csv(file: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.mark.parametrize(
    ("url", "text"), [("URL", "TEXT"), ("url", "caption"), ("image_url", "alt_text"), ("imgUrl", "Top Caption")]
)
@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_tables_of_urls_are_read_under_any_spelling(tmp_path: Path, kind: str, url: str, text: str) -> None:
    rows = [
        {url: row["URL"], text: row["TEXT"], "LICENSE": "CC0", "punsafe": 0.9 if number == 0 else 0.1}
        for number, row in enumerate(URLS)
    ]
    file = tmp_path / f"laion.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        write_csv(file, rows, "\t" if kind == "tsv" else ",")
    made = walk(tmp_path, file, "sourcing", max_unsafe=0.5)
    assert {row.source for row in made["sourcing"]} == {f"https://images.example/{k}.jpg" for k in (1, 3, 4)}
    assert {row.license for row in made["sourcing"]} == {"CC0"}
    assert all(row.url == row.source for row in made["sourcing"])
    assert Counter(row.reason for row in made["rejects"]) == {"punsafe": 1}


def test_what_is_stated_too_small_is_never_fetched(tmp_path: Path) -> None:
    sides = [(200, 47), (47, 200), (48, 48), (None, 500), (0, 0), ("?", -1), (47.9, 1e6)]
    rows = [{**row, "WIDTH": wide, "HEIGHT": high} for row, (wide, high) in zip(URLS, sides, strict=True)]
    file = write_csv(tmp_path / "laion.csv", rows)
    made = walk(tmp_path, file, "sourcing")
    assert Counter(row.reason for row in made["rejects"]) == {"stated_too_small": 3}
    assert {row.source for row in made["sourcing"]} == {web(k) for k in (3, 4)}
    # As downloads.min_side is, so is this, unless one sets it.
    assert Counter(row.reason for row in walk(tmp_path, file, "sourcing", min_side=47)["rejects"]) == {}


# --- the index


def test_an_index_is_made_once_and_a_changed_shard_begins_it_anew(tmp_path: Path) -> None:
    source = tmp_path / "laion"
    source.mkdir()
    for shard in range(3):
        write_csv(source / f"{shard}.csv", [{"URL": f"https://x.example/{shard}", "TEXT": f"thing {shard}"}])
    index = Catalogue(tmp_path / "index.sqlite")

    def build() -> tuple[int, list[str]]:
        read: list[str] = []

        class Watched(SourceShard):
            def entries(self, limits: RowLimits) -> Any:
                read.append(self.path.name)
                return super().entries(limits)

        index.build([Watched(shard.path) for shard in shards_of(source)], RowLimits(), Screen())
        return index.count(), read

    assert build() == (3, ["0.csv", "1.csv", "2.csv"])
    assert build() == (3, [])
    write_csv(source / "3.csv", [{"URL": "https://x.example/3", "TEXT": "thing 3"}])
    assert build() == (4, ["3.csv"])
    write_csv(source / "1.csv", [{"URL": "https://x.example/other", "TEXT": "another thing"}])
    assert build() == (4, ["0.csv", "1.csv", "2.csv", "3.csv"])
    assert [hit.entry.source for hit in index.search(["another"], 9)] == ["https://x.example/other"]
    index.close()


def test_a_term_of_several_words_finds_what_holds_most_of_them() -> None:
    said = (
        "classmates mocking a child",
        "a child by the sea",
        "a child that is mocked by its classmates",
        "a red ball",
        "the ball is blue",
    )
    index = Catalogue(Path(":memory:"))
    index._take_in("one", iter([SourceEntry(text, text) for text in said]))

    def found(*terms: str, most: int = 9) -> list[str]:
        return [hit.entry.caption for hit in index.search(terms, most)]

    assert found("child mocked by classmates") == [said[2], said[0]]
    assert found("child mocked by classmates", "red ball") == [said[2], said[3], said[0]], "whole terms first"
    assert found("child mocked by classmates", most=1) == [said[2]]
    assert found("red ball") == [said[3]], "one word of two says little"
    assert found(" ".join(f"word{number}" for number in range(30)) + " ball") == []
    index.close()


@given(st.lists(st.text(max_size=30), max_size=6))
def test_no_term_breaks_a_search(terms: list[str]) -> None:
    index = Catalogue(Path(":memory:"))
    index._take_in("one", iter([SourceEntry("a", " ".join(terms)), SourceEntry("b", "x")]))
    found = [hit.entry.source for hit in index.search(terms, 5)]
    assert len(found) == len(set(found)) <= 2
    index.close()


# --- a hub


def test_a_hub_that_cannot_be_asked_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="the hub did not give"):
        walk(tmp_path, Path("hub/nobody/nothing"))
    with pytest.raises(ConfigError, match="no name of a data set"):
        walk(tmp_path, Path("hub/nothing"))


# --- sources that are not to be trusted


def test_a_tar_is_read_and_never_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        add(tar, "good.png", png(0))
        add(tar, "good.txt", b"a red ball")
        for name in ("../up.png", "/absolute.png", "a/../../up.png", "back\\slash.png"):
            add(tar, name, png(1))
            add(tar, name.replace(".png", ".txt"), b"a red ball")
        add(tar, "link.png", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(tar, "hard.png", b"", type=tarfile.LNKTYPE, linkname="good.png")
        add(tar, "device.png", b"", type=tarfile.CHRTYPE)
        add(tar, "garbage.png", b"no image")
        add(tar, "garbage.json", b"{" * 9000)
        add(tar, "said.png", b"no image")
        add(tar, "said.json", b'{"caption": "red ball", "url": 7}')
    made = walk(tmp_path, tmp_path / "bad.tar")
    assert [image.source.split("@")[0] for image in made["selection"]] == [f"tar:{tmp_path}/bad.tar#good.png"]
    reasons = Counter(row.reason for row in made["rejects"])
    assert reasons == {"unsafe_name": 8, "not_a_file": 3, "undecodable": 1}


def test_a_broken_tar_gives_what_stands_before_the_break(tmp_path: Path) -> None:
    whole = as_tars(tmp_path) / "0.tar"
    whole.write_bytes(whole.read_bytes()[:6000])
    (tmp_path / "tars" / "2.tar").write_bytes(b"no tar at all" * 100)
    made = walk(tmp_path, tmp_path / "tars", "sourcing")
    assert {row.caption for row in made["sourcing"]} <= set(CAPTIONS)
    assert [row.reason for row in made["rejects"]].count("broken_tar") == 2


@given(st.data())
def test_a_damaged_tar_never_breaks_a_run(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("tar")
    file = as_tars(folder) / "0.tar"
    damaged = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        block = 512 * data.draw(st.integers(0, len(damaged) // 512 - 1))
        damaged[block + data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    file.write_bytes(damaged)
    assert all(isinstance(found, SourceEntry | SkippedEntry) for found in SourceShard(file).entries(RowLimits()))


def test_tables_that_lack_columns_or_are_none_are_told_of(tmp_path: Path) -> None:
    source = tmp_path / "tables"
    source.mkdir()
    write_csv(source / "no url.csv", [{"TEXT": "a red ball"}])
    pq.write_table(pa.Table.from_pylist([{"text": "a red ball"}]), source / "no url.parquet")
    (source / "broken.parquet").write_bytes(b"PAR1 and nothing more")
    (source / "empty.csv").write_bytes(b"")
    (source / "noise.csv.gz").write_bytes(b"\x1f\x8bnoise")
    with pytest.raises(ConfigError, match="no_url_column 3") as caught:
        walk(tmp_path, source)
    assert "broken_table 2" in str(caught.value)
    write_csv(
        source / "good.csv", [{"URL": "https://x.example/1", "TEXT": "red ball"}, {"URL": "7", "TEXT": "red ball"}]
    )
    made = walk(tmp_path, source, "sourcing")
    assert [row.source for row in made["sourcing"]] == ["https://x.example/1"]
    assert Counter(row.reason for row in made["rejects"]) == {"no_url_column": 3, "broken_table": 2, "no_url": 1}


def test_nothing_in_a_source_is_passed_over_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Packed archives are told of, and loose images are taken in beside tables and tars."""
    source = as_tars(tmp_path)
    for name in ("packed.tar.gz", "packed.tgz", "all.zip"):
        (source / name).write_bytes(b"\x1f\x8b")
    (source / "loose.png").write_bytes(png(9))
    (source / "loose.txt").write_text("a red ball, loose")
    made = walk(tmp_path, source, "sourcing")
    assert Counter(row.reason for row in made["rejects"]) == {"packed_archive": 3}
    assert "packed_archive 3 (unpack these" in capsys.readouterr().err
    assert [Path(row.source).name for row in made["sourcing"] if "loose" in row.caption] == ["loose.png"]


def test_a_folder_is_its_leafs_whatever_its_capitals_and_others_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Red", "reds", "REDS", ".cache"):
        (tmp_path / "source" / name).mkdir(parents=True)
        (tmp_path / "source" / name / "one.png").write_bytes(png(1))
    made = walk(tmp_path, tmp_path / "source", "sourcing")
    assert [(row.leaf, Path(row.source).parent.name) for row in made["sourcing"]] == [("red", "Red")]
    told = capsys.readouterr().err
    assert "no leaf is named as these folders, which are left out: 'REDS', 'reds'\n" in told
    (tmp_path / "source" / "red").mkdir()
    (tmp_path / "source" / "red" / "two.png").write_bytes(png(2))
    with pytest.raises(ConfigError, match="same name but for capitals: 'Red' and 'red'"):
        walk(tmp_path, tmp_path / "source", "sourcing")


@pytest.mark.parametrize("leaf", ["red", "in no order"])
def test_links_that_lead_out_of_a_folder_are_refused(tmp_path: Path, leaf: str) -> None:
    inside = tmp_path / "source" / leaf
    inside.mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png(1))
    (inside / "good.png").write_bytes(png(0))
    (inside / "good.txt").write_text("a red ball")
    (inside / "out.png").symlink_to(tmp_path / "secret.png")
    (inside / "within.png").symlink_to(inside / "good.png")
    (inside / "within.txt").write_text("a red ball")
    made = walk(tmp_path, tmp_path / "source", "sourcing")
    assert {Path(row.source).name for row in made["sourcing"]} - {"good.txt", "within.txt"} == {
        "good.png",
        "within.png",
    }
    assert [row.reason for row in made["rejects"]] == ["leads_outside"]


@pytest.mark.parametrize("kind", ["empty", "text"])
def test_a_source_without_images_is_told(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    if kind == "text":
        (source / "readme.md").write_text("no images")
    with pytest.raises(ConfigError, match="tables or tars") as caught:
        walk(tmp_path, source)
    assert ".parquet" in caught.value.then


def test_where_nothing_is_found_the_run_says_so(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "other.csv", [{"URL": "https://x.example/1", "TEXT": "something else"}])
    with pytest.raises(GateError, match="nothing was found"):
        walk(tmp_path, file)


@given(st.text(max_size=20))
def test_a_name_that_leads_out_is_known(name: str) -> None:
    if not leads_out(name):
        assert not (Path("/a/b") / name).is_absolute() or str(Path("/a/b") / name).startswith("/a/b")
        assert ".." not in name.split("/")


def test_a_run_that_was_made_inside_a_source_is_no_part_of_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "list.csv", URLS)
    first = walk(tmp_path, tmp_path, "sourcing")
    assert first["sourcing"]
    assert [shard.path.name for shard in shards_of(tmp_path)] == ["list.csv"]
