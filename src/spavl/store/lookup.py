"""Looks up rows of a finished table by a column, on disk. In memory are 16 bytes per row and a few row groups.

Stages look up rows near each other, since each writes its rows in the order of its inputs. Row groups
are cached as Arrow tables: as records they would be five times larger, so only a few rows are converted.
"""

import bisect
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from spavl.errors import InternalError
from spavl.records import Record
from spavl.store.tables import open_table, record_from

R = TypeVar("R", bound=Record)

GROUPS_HELD = 8
# The number of rows converted to records at once (a lot), and how many lots are cached per row group.
_LOT, _LOTS_PER_GROUP = 128, 4


class Lookup(Generic[R]):
    """A table of many rows that can be used like a dict.

    `by` is the key column. If several rows have the same key, `all` returns them in the table's order.
    """

    def __init__(self, path: Path, kind: type[R], by: str = "id", groups_held: int = GROUPS_HELD) -> None:
        self._kind, self._by, self._groups_held = kind, by, groups_held
        self._file = open_table(path, kind)
        groups = range(self._file.num_row_groups)
        self._ends: list[int] = list(accumulate(self._file.metadata.row_group(group).num_rows for group in groups))
        self._hashes, self._rows = _index(self._file, by)
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()
        self._lots: OrderedDict[tuple[int, int], list[tuple[str | None, R]]] = OrderedDict()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: str) -> R:
        if (record := self.get(key)) is None:
            raise InternalError(f"no {self._kind.__name__} has {self._by} {key}")
        return record

    def get(self, key: str) -> R | None:
        return next(self._find(key), None)

    def all(self, key: str) -> list[R]:
        return list(self._find(key))

    def _find(self, key: str) -> Iterator[R]:
        wanted = hash(key)
        for place in range(bisect.bisect_left(self._hashes, wanted), len(self._hashes)):
            if self._hashes[place] != wanted:
                return
            value, record = self._row(self._rows[place])
            # Two values may have the same hash, so the values are compared.
            if value == key:
                yield record

    def _row(self, number: int) -> tuple[str | None, R]:
        group = bisect.bisect_right(self._ends, number)
        inside = number - (self._ends[group - 1] if group else 0)
        place = group, inside // _LOT
        rows = self._lots.pop(place, None) or self._read(*place)
        self._lots[place] = rows
        if len(self._lots) > _LOTS_PER_GROUP * self._groups_held:
            self._lots.popitem(last=False)
        return rows[inside % _LOT]

    def _read(self, group: int, lot: int) -> list[tuple[str | None, R]]:
        table = self._groups.pop(group, None) or self._file.read_row_group(group)
        self._groups[group] = table
        if len(self._groups) > self._groups_held:
            self._groups.popitem(last=False)
        rows = table.slice(lot * _LOT, _LOT).to_pylist()
        return [(row[self._by], record_from(self._kind, row)) for row in rows]


def _index(file: pq.ParquetFile, column: str) -> tuple[memoryview, memoryview]:
    """The sorted hashes of a column's values, and the row number of each."""
    hashes, rows, number = array("q"), array("q"), 0
    for group in range(file.num_row_groups):
        for value in file.read_row_group(group, [column]).column(0).to_pylist():
            if value is not None:
                hashes.append(hash(value))
                rows.append(number)
            number += 1
    # The sort is stable, so rows of one value stay in the table's order.
    order = pc.sort_indices(_as_arrow(hashes))
    return _take_in_order(hashes, order), _take_in_order(rows, order)


def _as_arrow(numbers: "array[int]") -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def _take_in_order(numbers: "array[int]", order: pa.Array) -> memoryview:
    return memoryview(_as_arrow(numbers).take(order).buffers()[1]).cast("q")[: len(numbers)]
