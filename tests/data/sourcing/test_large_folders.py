"""A folder of very many files: each is looked at once a start. What a manifest tells of is on the disk first."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spavl.data.dataset.shards import write_shards
from spavl.data.sourcing.readers.columns import find_columns
from spavl.data.sourcing.readers.entry import RowLimits, SourceEntry
from spavl.pipeline.build import run_build
from spavl.pipeline.cost_estimate import estimate_cost
from spavl.pipeline.settings import read_config
from spavl.records import Candidate
from spavl.store import RunFolder
from spavl.store.files import files_under, leads_outside
from spavl.terminal.progress import Screen
from tests.data.sourcing.test_sources import TAXONOMY, png
from tests.pipeline.test_pipeline import Walked, copied, walked

__all__ = ["copied", "walked"]

FILES = 60


class Looks:
    """Counts how often the disk is asked for a file of a folder, by whatever way."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: Counter[str] = Counter()
        self._folder = f"{folder}/"
        for name in ("stat", "lstat", "readlink"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        scandir = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path=".": _Listed(scandir(path), self))

    def note(self, path: object) -> None:
        if isinstance(path, str | os.PathLike) and str(path).startswith(self._folder):
            self.seen[str(path)] += 1

    def _counted(self, ask: Any) -> Any:
        def asked(path: Any, *args: Any, **kwargs: Any) -> Any:
            self.note(path)
            return ask(path, *args, **kwargs)

        return asked

    def of_files(self) -> Counter[int]:
        """Of how many files the disk was asked how often."""
        return Counter(number for path, number in self.seen.items() if path.endswith((".png", ".txt")))


class _Listed:
    def __init__(self, listed: Any, looks: Looks) -> None:
        self._listed, self._looks = listed, looks

    def __enter__(self) -> "_Listed":
        return self

    def __exit__(self, *_: object) -> None:
        self._listed.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> "_File":
        return _File(next(self._listed), self._looks)


class _File:
    def __init__(self, entry: Any, looks: Looks) -> None:
        self._entry, self._looks = entry, looks
        self.name, self.path = entry.name, entry.path

    def __fspath__(self) -> str:
        return str(self.path)

    def stat(self, **how: Any) -> Any:
        self._looks.note(self.path)
        return self._entry.stat(**how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_each_file_of_a_source_is_looked_at_once_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_sorted: bool
) -> None:
    source = tmp_path / "source"
    place = source / "red" if is_sorted else source
    place.mkdir(parents=True)
    for number in range(FILES):
        (place / f"{number:03}.png").write_bytes(png(number % 5))
        (place / f"{number:03}.txt").write_text("a red ball")
    (tmp_path / "taxonomy.toml").write_text(TAXONOMY)
    table = {
        "taxonomy": {"file": str(tmp_path / "taxonomy.toml")},
        "sourcing": {"source": str(source), "per_leaf": 3},
    }
    config = read_config(table, {}, "a test")
    for start in ("first", "again"):
        with monkeypatch.context() as watched:
            looks = Looks(source, watched)
            asyncio.run(run_build(config, tmp_path / "run", "sourcing", Screen(quiet=True)))
            assert looks.of_files() == {1: 2 * FILES}, start
    with monkeypatch.context() as watched:
        looks = Looks(source, watched)
        asyncio.run(estimate_cost(config, tmp_path / "another", "sourcing"))
        assert looks.of_files() == {}, "a price depends on no file's size"
    with RunFolder(tmp_path / "run", look_only=True) as run:
        assert [row.caption for row in run.read("sourcing", Candidate)] == ["a red ball"] * 3


def test_a_changed_file_of_a_source_is_met_by_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "one.png").write_bytes(png(1))
    seen = []
    for text in ("one", "another"):
        (tmp_path / "source" / "one.txt").write_text(text)
        with RunFolder(tmp_path / "run") as run:
            seen += [run.state_of(tmp_path / "source"), run.state_of(tmp_path / "source")]
    assert seen[0] == seen[1] != seen[2] == seen[3]


def test_what_a_run_makes_is_looked_at_anew_each_time(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        made = run.checkpoint("aligned")
        made.mkdir(parents=True)
        before = run.state_of(made)
        (made / "config.json").write_text("{}")
        assert run.state_of(made) != before == []


def test_a_listing_has_the_files_of_all_folders_and_knows_what_leads_outside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for file in (inside / "a.png", inside / "deep" / "er" / "b.png", inside / "run" / "run.json", outside / "c.png"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    (inside / "run" / "blob").write_bytes(b"")
    (inside / "to_file").symlink_to(outside / "c.png")
    (inside / "to_itself").symlink_to(inside / "a.png")
    (inside / "to_folder").symlink_to(outside)
    (inside / "to_nothing").symlink_to(outside / "d.png")
    found = {file.name: leads_outside(file, inside.resolve()) for file in files_under(inside)}
    assert found == {"a.png": False, "b.png": False, "to_file": True, "to_itself": False}


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("HTTP://a.example/X.JPG", "http://a.example/X.JPG"),
        ("Https://A.example/x", "https://A.example/x"),
        (" https://a.example/x ", "https://a.example/x"),
        ("ftp://a.example/x", None),
        ("http://", None),
        ("http:/a.example", None),
        ("", None),
    ],
)
def test_the_scheme_of_an_address_may_be_in_capitals(written: str, url: str | None) -> None:
    row = {"URL": written, "TEXT": "a ball"}
    found = find_columns(row).entry(row, "table#0", "", RowLimits())
    assert (found.source if isinstance(found, SourceEntry) else None) == url


def _places_synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file and folder in the order in which it was put on the disk, by the name it has then; and renamings."""
    done, fsync, rename = list[str](), os.fsync, os.rename

    def synced(handle: int) -> None:
        done.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def renamed(one: Any, other: Any, **how: Any) -> None:
        done.append(f"{one} -> {other}")
        rename(one, other, **how)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    return done


def test_shards_are_on_the_disk_before_they_have_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = _places_synced(monkeypatch)
    write_shards(tmp_path, "train", pa.schema([("n", pa.int64())]), [{"n": k} for k in range(200)], shard_mb=0)
    written = [each for each in done if " -> " not in each and each.endswith(".parquet")]
    named = [each for each in done if " -> " in each]
    assert len(written) == len(named) == len(list(tmp_path.glob("*.parquet"))) > 1
    assert done == [*written, *named, str(tmp_path)]


@pytest.mark.slow
def test_all_of_a_data_set_is_on_the_disk_before_its_manifest(copied: Walked, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, done = copied.run / "dataset", _places_synced(monkeypatch)
    (copied.run / "stages" / "dataset.json").unlink()
    asyncio.run(run_build(copied.settings(), copied.run, "dataset", Screen(quiet=True)))
    taken = done.index(f"{copied.run}/.dataset.new -> {folder}")
    sealed = next(place for place, each in enumerate(done) if "/stages/.dataset.json." in each)
    files = list(folder.rglob("*.parquet"))
    assert len(files) > 3 and taken < done.index(str(copied.run), taken) < sealed
    for file in (*files, *(file.parent for file in files)):
        before = f"{copied.run}/.dataset.new/{file.relative_to(folder)}"
        assert before in done[:taken], f"{before} may be lost"
