"""Reads images inside Parquet and Arrow tables, one cell at a time and with bounded memory.

The sizes in a table's metadata are untrusted, and even correct ones mislead: an image that a thousand rows share is in
the file once. So cells are decoded one by one, and their sizes are summed.
"""

import bisect
import contextlib
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.imaging.decode import LARGEST_BYTES
from spavl.imaging.tables.arrow import read_batch, read_batches
from spavl.imaging.tables.columns import holds_images, in_lists, is_list, is_struct_of_bytes
from spavl.imaging.tables.packing import check_parquet
from spavl.imaging.unfetchable import Unfetchable

_GROUPS_HELD = 2
# A row group whose images take more bytes is not cached, but read one row at a time.
_LARGEST_HELD = 64 * 2**20
# The most bytes of all images of one cell.
_LARGEST_CELL = 2 * LARGEST_BYTES
_BUFFER = 2**20
_FAULTS = (OSError, ValueError, KeyError, IndexError, pa.ArrowException)

# The images in a cell, several if it is a list; or the reason why there is none.
Cell = tuple[bytes, ...] | str


class _Table(NamedTuple):
    """The row groups of a file: the end row and the place of each, and the stated size of each column, if known."""

    ends: list[int]
    places: list[int]
    sizes: list[dict[str, int]]
    # For each group, the columns that have no empty cell according to the file's statistics.
    full: list[set[str]]


class TableCells:
    """Reads cells, and caches the last few row groups. Rows of a large group are best read in order."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str, int], list[Cell] | _Stream] = OrderedDict()
        self._tables: dict[str, _Table] = {}
        self._lock = threading.Lock()

    def get(self, path: str, column: str, row: int) -> bytes:
        """The one image in a cell."""
        images = self.get_all(path, column, row)
        if len(images) > 1:
            raise Unfetchable("several_images")
        return images[0]

    def get_all(self, path: str, column: str, row: int, holes: bool = False) -> tuple[bytes, ...]:
        """The images in a cell, at least one. With `holes`, empty entries of a list are included as b""."""
        with self._lock:
            try:
                around, cells = self._around(path, column, row)
                cell = cells[row - around.start]
            except _FAULTS:
                raise Unfetchable("unreadable") from None
        if isinstance(cell, str):
            raise Unfetchable(cell)
        return cell if holes else tuple(image for image in cell if image)

    def is_empty(self, path: str, column: str, row: int) -> bool:
        """Whether a cell has no image. If the statistics say that no cell is empty, no data is read."""
        with self._lock:
            try:
                table = self._table(path)
                if column in table.full[bisect.bisect_right(table.ends, row)]:
                    return False
                around, cells = self._around(path, column, row)
                return cells[row - around.start] == "no_bytes"
            except _FAULTS:
                # The error is raised when the cell itself is read.
                return False

    def large_group(self, path: str, column: str, row: int) -> range | None:
        """The rows of this row's group if the group is too large to be cached; otherwise None."""
        with self._lock:
            try:
                around, cells = self._around(path, column, row)
            except _FAULTS:
                return None
            return around if isinstance(cells, _Stream) else None

    def _around(self, path: str, column: str, row: int) -> "tuple[range, list[Cell] | _Stream]":
        """The rows of this row's group, and their cells."""
        table = self._table(path)
        if not 0 <= row < (table.ends[-1] if table.ends else 0):
            raise IndexError(row)
        group = bisect.bisect_right(table.ends, row)
        cells = self._held.pop((path, column, group), None)
        if cells is None and table.sizes[group].get(column, 0) <= _LARGEST_HELD:
            cells = _all_cells(path, column, table.places[group])
        if cells is None:
            table.sizes[group][column] = _LARGEST_HELD + 1
            cells = _Stream(path, column, table.places[group])
        self._held[path, column, group] = cells
        if len(self._held) > _GROUPS_HELD:
            self._held.popitem(last=False)
        return range(table.ends[group - 1] if group else 0, table.ends[group]), cells

    def _table(self, path: str) -> _Table:
        if path not in self._tables:
            self._tables[path] = _arrow_table(path) if _is_arrow(path) else _parquet_table(path)
        return self._tables[path]


class _Stream:
    """The cells of a large group, read forward. To go back, it starts again at the first row."""

    def __init__(self, path: str, column: str, place: int) -> None:
        self._place = path, column, place
        self._cells: Iterator[Cell] = iter(())
        self._cell: Cell = ()
        self._at = sys.maxsize

    def __getitem__(self, place: int) -> Cell:
        if place < self._at:
            self._cells, self._at = _cells(*self._place), -1
        while self._at < place:
            self._at, self._cell = self._at + 1, next(self._cells, "unreadable")
        return self._cell


def _is_arrow(path: str) -> bool:
    return path.lower().endswith(".arrow")


def _arrow_table(path: str) -> _Table:
    places, rows = list[int](), list[int]()
    # The batches of a truncated file that precede the break can be read.
    with contextlib.suppress(OSError, pa.ArrowException):
        for place, batch in read_batches(path):
            places.append(place)
            rows.append(batch.num_rows)
    return _Table(list(accumulate(rows)), places, [{} for _ in rows], [set() for _ in rows])


def _parquet_table(path: str) -> _Table:
    sizes: list[dict[str, int]] = []
    full: list[set[str]] = []
    with _open_parquet(path) as file:
        check_parquet(path, file.metadata)
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        holding = {field.name: part for field in file.schema_arrow if (part := _bytes_of(file, field))}
    for group in groups:
        sizes.append({})
        stated = dict(_empty_cells(group))
        full.append({name for name, part in holding.items() if stated.get(part) == 0})
        for number in range(group.num_columns):
            part = group.column(number)
            # A column of structs has several leaf columns: `image.bytes` and `image.path`.
            name = part.path_in_schema.partition(".")[0]
            sizes[-1][name] = sizes[-1].get(name, 0) + part.total_uncompressed_size
    return _Table(list(accumulate(group.num_rows for group in groups)), list(range(len(groups))), sizes, full)


def _empty_cells(group: Any) -> Iterator[tuple[str, int | None]]:
    """The number of nulls of each leaf column according to the statistics; None if unknown."""
    for part in (group.column(number) for number in range(group.num_columns)):
        stated = part.statistics
        yield part.path_in_schema, stated.null_count if stated is not None and stated.has_null_count else None


def _all_cells(path: str, column: str, place: int) -> list[Cell] | None:
    """All cells of a group; None if they are too large to be cached."""
    cells, size = list[Cell](), 0
    for cell in _cells(path, column, place):
        cells.append(cell)
        size += sys.getsizeof(cell) + sum(map(sys.getsizeof, cell if isinstance(cell, tuple) else ()))
        if size > _LARGEST_HELD:
            return None
    return cells


def _cells(path: str, column: str, place: int) -> Iterator[Cell]:
    for values in _arrow_values(path, column, place) if _is_arrow(path) else _parquet_values(path, column, place):
        yield from _images(values)


def _arrow_values(path: str, column: str, place: int) -> Iterator[Any]:
    values = read_batch(path, place).column(column)
    # The data is untrusted: its offsets may be out of bounds.
    values.validate(full=True)
    yield values


def _parquet_values(path: str, column: str, group: int) -> Iterator[Any]:
    with _open_parquet(path) as file:
        if (part := _bytes_of(file, file.schema_arrow.field(column))) is None:
            raise KeyError(column)
        for batch in file.iter_batches(1, row_groups=[group], columns=[part], use_threads=False):
            yield batch.column(0)


def _bytes_of(file: pq.ParquetFile, field: Any) -> str | None:
    """The leaf column with the bytes of a column's images: the column itself, or a field of its structs."""
    if not holds_images(field.type):
        return None
    parts: list[str] = [file.schema.column(number).path for number in range(len(file.schema))]
    own = [part for part in parts if part == field.name or part.startswith(f"{field.name}.")]
    if is_struct_of_bytes(in_lists(field.type)):
        # Another field may be a struct with bytes too; the bytes of the image are nested less deeply.
        own = [part for part in own if part.endswith(".bytes")]
    return min(own, key=lambda part: part.count("."))


def _open_parquet(path: str) -> pq.ParquetFile:
    # With pre-buffering, a whole row group would be loaded before its first row is returned.
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)


def _images(values: Any) -> Iterator[Cell]:
    """Yield the images of each cell. They are converted one by one, and other fields of a struct are not read."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if is_struct_of_bytes(values.type):
        yield from _images(values.flatten()[values.type.get_field_index("bytes")])
    elif is_list(values.type):
        yield from (_cell_of_list(value.values) for value in values)
    else:
        yield from (_cell(value.as_py()) for value in values)


def _cell_of_list(values: Any) -> Cell:
    """The images of a list, with b"" for empty entries; or the reject reason, also if they are too large together."""
    found, size = list[bytes](), 0
    for cell in _images(values) if values is not None else ():
        if isinstance(cell, str):
            if cell != "no_bytes":
                return cell
            found.append(b"")
            continue
        found += cell
        size += sum(map(len, cell))
        if size > _LARGEST_CELL:
            return "too_many_bytes"
    return tuple(found) if any(found) else "no_bytes"


def _cell(value: Any) -> Cell:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        return "no_bytes"
    return (data,) if len(data) <= LARGEST_BYTES else "too_many_bytes"
