"""The files of a source that is not sorted by leaf, and the reader of each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from spavl.candidates.readers.embeddings import beside
from spavl.candidates.readers.entry import PICTURES, Entry, RowLimits, Skipped
from spavl.candidates.readers.flat import from_folder
from spavl.candidates.readers.lines import from_csv, from_jsonl
from spavl.candidates.readers.tables import from_arrow, from_parquet
from spavl.candidates.readers.tars import from_tar
from spavl.engine.apart import EndsItsReader, rows_apart
from spavl.store.files import files_under, state_of

_READERS: dict[str, Callable[[Path, RowLimits], Iterator[Entry | Skipped]]] = {
    ".parquet": from_parquet,
    ".arrow": from_arrow,
    ".csv": from_csv,
    ".tsv": from_csv,
    ".csv.gz": from_csv,
    ".tsv.gz": from_csv,
    ".jsonl": from_jsonl,
    ".tar": from_tar,
}
READABLE = tuple(_READERS)
# Pictures are read at their places in a file, and in a packed one they have none.
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
PACKED = "packed_archive"


class Shard(NamedTuple):
    """A file, or a folder of loose pictures, that is read as one."""

    path: Path

    def state(self) -> list[object]:
        """What shows that it was changed."""
        if self.path.is_dir():
            # With a table that names some of them, they are to be read anew.
            return state_of(self.path, {*PICTURES, ".txt", *_READERS})
        return [state_of(file) for file in (self.path, beside(self.path)) if file]

    def entries(self, limits: RowLimits) -> Iterator[Entry | Skipped]:
        if self.path.is_dir():
            return from_folder(self.path)
        if is_packed(self.path.name):
            return iter([Skipped(str(self.path), PACKED)])
        return self._read_apart(limits)

    def _read_apart(self, limits: RowLimits) -> Iterator[Entry | Skipped]:
        """A table or tar that ends its reader is left out from there on."""
        try:
            yield from rows_apart(_READERS[_kind(self.path) or ""], self.path, limits, file=str(self.path))
        except EndsItsReader:
            yield Skipped(str(self.path), "broken_table")


def shards_of(path: Path) -> list[Shard]:
    """The shards of a file or folder in the order of their names, loose pictures last; none, if it has none."""
    if path.is_file():
        return [Shard(path)] if _kind(path) else []
    inside = path.resolve()
    files = sorted(files_under(path))
    shards = [Shard(file) for file in files if _kind(file) and file.resolve().is_relative_to(inside)]
    return [*shards, *([Shard(path)] if any(file.suffix.lower() in PICTURES for file in files) else [])]


def is_packed(name: str) -> bool:
    return name.lower().endswith(_PACKED)


def _kind(file: Path) -> str | None:
    return next((ending for ending in (*_READERS, *_PACKED) if file.name.lower().endswith(ending)), None)
