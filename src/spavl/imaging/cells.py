"""Pictures inside Parquet tables, one cell at a time, without ever holding more than a few pages of a table."""

import bisect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.imaging.decode import LARGEST_BYTES
from spavl.imaging.unfetchable import Unfetchable

_GROUPS_HELD = 2
# A row group whose pictures take more is not held whole, but gone through a few rows at a time.
_LARGEST_HELD = 64 * 2**20
_ROWS_AT_ONCE = 16
_BUFFER = 2**20

Cell = Callable[[int], Any]


class _Table(NamedTuple):
    """Where the row groups of a file end, and what each takes by column."""

    ends: list[int]
    sizes: list[dict[str, int]]


class Cells:
    """Keeps the last few row groups it met. In large ones, rows are best asked for in their order."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str, int], Cell] = OrderedDict()
        self._tables: dict[str, _Table] = {}
        self._lock = threading.Lock()

    def get(self, path: str, column: str, row: int) -> bytes:
        with self._lock:
            try:
                return _bytes(self._cell(path, column, row))
            except (OSError, ValueError, KeyError, IndexError, pa.ArrowException):
                raise Unfetchable("unreadable") from None

    def large_group(self, path: str, column: str, row: int) -> range | None:
        """The rows that stand with this one in a group which is too large to be held; None if it is not too large."""
        with self._lock:
            try:
                table, group = self._place(path, row)
            except (OSError, IndexError, pa.ArrowException):
                return None
            small = table.sizes[group].get(column, 0) <= _LARGEST_HELD
            return None if small else range(table.ends[group - 1] if group else 0, table.ends[group])

    def _place(self, path: str, row: int) -> tuple[_Table, int]:
        if path not in self._tables:
            with _opened(path) as file:
                self._tables[path] = _table(file.metadata)
        table = self._tables[path]
        if not 0 <= row < (table.ends[-1] if table.ends else 0):
            raise IndexError(row)
        return table, bisect.bisect_right(table.ends, row)

    def _cell(self, path: str, column: str, row: int) -> Any:
        table, group = self._place(path, row)
        key = (path, column, group)
        read = self._held.pop(key, None)
        if read is None:
            large = table.sizes[group].get(column, 0) > _LARGEST_HELD
            read = _streamed(path, column, group) if large else _whole(path, column, group)
        self._held[key] = read
        if len(self._held) > _GROUPS_HELD:
            self._held.popitem(last=False)
        return read(row - (table.ends[group - 1] if group else 0))


def _opened(path: str) -> pq.ParquetFile:
    # Else a whole row group is fetched before its first row is given.
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)


def _table(metadata: Any) -> _Table:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes: list[dict[str, int]] = []
    for group in groups:
        sizes.append({})
        for number in range(group.num_columns):
            part = group.column(number)
            # A column of structs is made of parts: `image.bytes` and `image.path`.
            name = part.path_in_schema.partition(".")[0]
            sizes[-1][name] = sizes[-1].get(name, 0) + part.total_uncompressed_size
    return _Table(list(accumulate(group.num_rows for group in groups)), sizes)


def _whole(path: str, column: str, group: int) -> Cell:
    with _opened(path) as file:
        values = file.read_row_group(group, [column]).column(0)
    return lambda place: values[place].as_py()


def _streamed(path: str, column: str, group: int) -> Cell:
    """Goes forward as far as it is asked; to go back it begins again."""
    batches: Iterator[Any] = iter(())
    start, values = 0, None

    def read(place: int) -> Any:
        nonlocal batches, start, values
        if values is None or place < start:
            batches, start, values = _batches(path, column, group), 0, ()
        while place >= start + len(values):
            start += len(values)
            values = next(batches, None)
            if values is None:
                raise IndexError(place)
        return values[place - start].as_py()

    return read


def _batches(path: str, column: str, group: int) -> Iterator[Any]:
    with _opened(path) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=[column], use_threads=False):
            yield batch.column(0)


def _bytes(value: Any) -> bytes:
    """Bytes as they are, or as `datasets` wraps a picture, alone or as a list of one."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise Unfetchable("no_bytes")
    if len(data) > LARGEST_BYTES:
        raise Unfetchable("too_many_bytes")
    return data
