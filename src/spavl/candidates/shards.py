"""The files of a source that is not sorted by leaf, and the reader of each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from spavl.candidates.readers.entry import PICTURES, Entry, Skipped
from spavl.candidates.readers.flat import from_folder
from spavl.candidates.readers.tables import from_csv, from_parquet
from spavl.candidates.readers.tars import from_tar
from spavl.store.files import files_under

_READERS: dict[str, Callable[[Path, float | None], Iterator[Entry | Skipped]]] = {
    ".parquet": from_parquet,
    ".csv": from_csv,
    ".tsv": from_csv,
    ".csv.gz": from_csv,
    ".tsv.gz": from_csv,
    ".tar": from_tar,
}
READABLE = tuple(_READERS)


class Shard(NamedTuple):
    """A file, or a folder of loose pictures, that is read as one."""

    path: Path

    def entries(self, most_unsafe: float | None) -> Iterator[Entry | Skipped]:
        if self.path.is_dir():
            return from_folder(self.path)
        return _READERS[_kind(self.path) or ""](self.path, most_unsafe)


def shards_of(path: Path) -> list[Shard]:
    """The shards of a file or folder in the order of their names; none, if nothing in it can be read."""
    if path.is_file():
        return [Shard(path)] if _kind(path) else []
    inside = path.resolve()
    files = sorted(files_under(path))
    if shards := [Shard(file) for file in files if _kind(file) and file.resolve().is_relative_to(inside)]:
        return shards
    return [Shard(path)] if any(file.suffix.lower() in PICTURES for file in files) else []


def _kind(file: Path) -> str | None:
    return next((ending for ending in _READERS if file.name.lower().endswith(ending)), None)
