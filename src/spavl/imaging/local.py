"""Reads the bytes of local images by their source.

| source | is |
| --- | --- |
| `file:PATH` | a file |
| `tar:PATH#MEMBER@OFFSET+SIZE` | a member of an uncompressed tar, and where its bytes are |
| `parquet:PATH#COLUMN/ROW`, `arrow:PATH#COLUMN/ROW` | a cell of a table |
"""

from pathlib import Path
from typing import NamedTuple, Protocol

from spavl.imaging.decode import LARGEST_BYTES
from spavl.imaging.unfetchable import Unfetchable

_TABLES = ("parquet", "arrow")
_SCHEMES = ("file", "tar", *_TABLES)


class CellPlace(NamedTuple):
    """A cell of a table."""

    path: str
    column: str
    row: int


class CellReader(Protocol):
    def get(self, path: str, column: str, row: int) -> bytes: ...


def is_local(source: str) -> bool:
    return source.partition(":")[0] in _SCHEMES


def cell_at(source: str) -> CellPlace | None:
    """The cell that a source names; None if it is not a cell of a table."""
    scheme, _, rest = source.partition(":")
    path, _, cell = rest.rpartition("#")
    column, _, row = cell.rpartition("/")
    return CellPlace(path, column, int(row)) if scheme in _TABLES and row.isdecimal() else None


def read_local(source: str, cells: CellReader) -> bytes:
    """The bytes of a local source; raises Unfetchable if they cannot be read."""
    scheme, _, rest = source.partition(":")
    if scheme == "file":
        return _read(rest, 0, None)
    if scheme == "tar":
        return _member(rest)
    if place := cell_at(source):
        return cells.get(*place)
    raise Unfetchable("bad_source")


def _member(place: str) -> bytes:
    path, _, member = place.partition("#")
    try:
        offset, size = map(int, member.rpartition("@")[2].split("+"))
    except ValueError:
        raise Unfetchable("bad_source") from None
    return _read(path, offset, size)


def _read(path: str, offset: int, size: int | None) -> bytes:
    try:
        with Path(path).open("rb") as opened:
            opened.seek(offset)
            data = opened.read(LARGEST_BYTES + 1 if size is None else min(size, LARGEST_BYTES + 1))
    except (OSError, ValueError):
        raise Unfetchable("unreadable") from None
    if len(data) > LARGEST_BYTES:
        raise Unfetchable("too_many_bytes")
    if size is not None and len(data) < size:
        raise Unfetchable("truncated")
    return data
