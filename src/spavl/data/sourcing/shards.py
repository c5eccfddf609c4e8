"""The files of an unsorted source, and the reader of each."""

from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spavl.data.sourcing.readers.embeddings import beside
from spavl.data.sourcing.readers.entry import IMAGES, OTHER_FORMAT, OTHER_IMAGES, RowLimits, SkippedEntry, SourceEntry
from spavl.data.sourcing.readers.flat import from_folder
from spavl.data.sourcing.readers.lines import from_csv, from_json, from_jsonl
from spavl.data.sourcing.readers.tables import from_arrow, from_parquet
from spavl.data.sourcing.readers.tars import from_tar
from spavl.engine.isolated_reader import ReaderCrash, rows_apart
from spavl.store.files import files_under, leads_outside, state_of
from spavl.text.file_groups import ABOUT_TABLES, OTHER_TABLES

_READERS: dict[str, Callable[[Path, RowLimits], Iterator[SourceEntry | SkippedEntry]]] = {
    ".parquet": from_parquet,
    ".arrow": from_arrow,
    ".csv": from_csv,
    ".tsv": from_csv,
    ".csv.gz": from_csv,
    ".tsv.gz": from_csv,
    ".jsonl": from_jsonl,
    ".jsonl.gz": from_jsonl,
    ".ndjson": from_jsonl,
    ".ndjson.gz": from_jsonl,
    ".json": from_json,
    ".tar": from_tar,
}
READABLE = tuple(_READERS)
_SEEN = {*IMAGES, *OTHER_IMAGES, ".txt", *_READERS}
Look = Callable[[Path], Sequence[Any]]
# An image is read at its offset in a file; in a compressed archive it has none.
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
PACKED = "packed_archive"
# The end of the names of files in which img2dataset counts the downloads of each of its tars.
_STATISTICS = "_stats.json"


class SourceShard(NamedTuple):
    """A file or a folder of loose images, which is read as one unit."""

    path: Path

    def state(self, look: Look = state_of) -> list[object]:
        """A value that changes when the shard changes, from the states of its files and folders."""
        if self.path.is_dir():
            # Includes tables, because a new table may name some of the images; then the folder is read again.
            return [seen for seen in look(self.path) if Path(str(seen[0])).suffix.lower() in _SEEN]
        return [look(file) for file in (self.path, beside(self.path)) if file]

    def entries(self, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
        if self.path.is_dir():
            return from_folder(self.path)
        if is_packed(self.path.name):
            return iter([SkippedEntry(str(self.path), PACKED)])
        if self.path.suffix.lower() in OTHER_TABLES:
            return iter([SkippedEntry(str(self.path), OTHER_FORMAT)])
        return self._read_apart(limits)

    def _read_apart(self, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
        """Read the shard in another process. If a table or tar crashes the reader, the rest of it is left out."""
        try:
            yield from rows_apart(_READERS[_kind(self.path.name) or ""], self.path, limits, file=str(self.path))
        except ReaderCrash:
            yield SkippedEntry(str(self.path), "broken_table")


def shards_of(path: Path) -> list[SourceShard]:
    """The shards of a file or folder in the order of their names, with loose images last."""
    if path.is_file():
        return [SourceShard(path)] if _kind(path.name) else []
    inside = path.resolve()
    files = list(files_under(path))
    images = [Path(file.path) for file in files if file.name.lower().endswith((*IMAGES, *OTHER_IMAGES))]
    # What each image, folder of images and tar is called without its ending.
    of_one = {image.with_suffix("") for image in images} | {image.parent for image in images}
    of_one |= {Path(file.path).with_suffix("") for file in files if _kind(file.name) == ".tar"}
    tables = (Path(file.path) for file in files if _kind(file.name) and not leads_outside(file, inside))
    shards = sorted(file for file in tables if not _is_aside(file, path, of_one))
    return [*map(SourceShard, shards), *([SourceShard(path)] if images else [])]


def _is_aside(file: Path, folder: Path, of_one: Container[Path]) -> bool:
    """Whether a JSON file is about an image of its name or about tables, or a Parquet file about images of its name.

    img2dataset writes such a Parquet file beside each of its tars and folders, with the failed downloads in it.
    """
    if file.suffix.lower() not in (".json", ".parquet"):
        return False
    is_of_images = file.with_suffix("") in of_one
    if file.suffix.lower() == ".parquet":
        return is_of_images and beside(file) is None
    is_hidden = any(part[0] == "." for part in file.relative_to(folder).parts)
    return is_hidden or is_of_images or file.name in ABOUT_TABLES or file.name.endswith(_STATISTICS)


def is_packed(name: str) -> bool:
    return name.lower().endswith(_PACKED)


def _kind(name: str) -> str | None:
    return next((ending for ending in (*_READERS, *_PACKED, *OTHER_TABLES) if name.lower().endswith(ending)), None)
