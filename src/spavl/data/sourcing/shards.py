"""The files of an unsorted source, and the reader of each."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spavl.data.sourcing.readers.embeddings import beside
from spavl.data.sourcing.readers.entry import IMAGES, RowLimits, SkippedEntry, SourceEntry
from spavl.data.sourcing.readers.flat import from_folder
from spavl.data.sourcing.readers.lines import from_csv, from_jsonl
from spavl.data.sourcing.readers.tables import from_arrow, from_parquet
from spavl.data.sourcing.readers.tars import from_tar
from spavl.engine.isolated_reader import ReaderCrash, rows_apart
from spavl.store.files import files_under, leads_outside, state_of

_READERS: dict[str, Callable[[Path, RowLimits], Iterator[SourceEntry | SkippedEntry]]] = {
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
_SEEN = {*IMAGES, ".txt", *_READERS}
Look = Callable[[Path], Sequence[Any]]
# Images are read at their places in a file, and in a packed one they have none.
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
PACKED = "packed_archive"


class SourceShard(NamedTuple):
    """A file, or a folder of loose images, that is read as one."""

    path: Path

    def state(self, look: Look = state_of) -> list[object]:
        """What shows that it was changed, by the states of files and folders."""
        if self.path.is_dir():
            # With a table that names some of them, they are to be read again.
            return [seen for seen in look(self.path) if Path(str(seen[0])).suffix.lower() in _SEEN]
        return [look(file) for file in (self.path, beside(self.path)) if file]

    def entries(self, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
        if self.path.is_dir():
            return from_folder(self.path)
        if is_packed(self.path.name):
            return iter([SkippedEntry(str(self.path), PACKED)])
        return self._read_apart(limits)

    def _read_apart(self, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
        """A table or tar that ends its reader is left out from there on."""
        try:
            yield from rows_apart(_READERS[_kind(self.path.name) or ""], self.path, limits, file=str(self.path))
        except ReaderCrash:
            yield SkippedEntry(str(self.path), "broken_table")


def shards_of(path: Path) -> list[SourceShard]:
    """The shards of a file or folder in the order of their names, loose images last; none, if it has none."""
    if path.is_file():
        return [SourceShard(path)] if _kind(path.name) else []
    inside = path.resolve()
    files = list(files_under(path))
    shards = sorted(Path(file.path) for file in files if _kind(file.name) and not leads_outside(file, inside))
    loose = any(file.name.lower().endswith(IMAGES) for file in files)
    return [*map(SourceShard, shards), *([SourceShard(path)] if loose else [])]


def is_packed(name: str) -> bool:
    return name.lower().endswith(_PACKED)


def _kind(name: str) -> str | None:
    return next((ending for ending in (*_READERS, *_PACKED) if name.lower().endswith(ending)), None)
