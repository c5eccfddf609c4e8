"""Pictures inside Parquet tables, one cell at a time."""

import bisect
import threading
from collections import OrderedDict
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.imaging.decode import LARGEST_BYTES
from spavl.imaging.unfetchable import Unfetchable

_GROUPS_HELD = 2


class Cells:
    """Reads the row group around a cell and keeps the last few, since candidates often lie near one another."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str, int], pa.ChunkedArray] = OrderedDict()
        self._ends: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def get(self, path: str, column: str, row: str) -> bytes:
        try:
            with self._lock:
                return self._cell(path, column, int(row))
        except (OSError, ValueError, KeyError, IndexError, pa.ArrowException):
            raise Unfetchable("unreadable") from None

    def _cell(self, path: str, column: str, row: int) -> bytes:
        if path not in self._ends:
            with pq.ParquetFile(path) as file:
                sizes = (file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
                self._ends[path] = list(accumulate(sizes))
        ends = self._ends[path]
        group = bisect.bisect_right(ends, row)
        key = (path, column, group)
        values = self._held.pop(key, None)
        if values is None:
            with pq.ParquetFile(path) as file:
                values = file.read_row_group(group, [column]).column(0)
        self._held[key] = values
        if len(self._held) > _GROUPS_HELD:
            self._held.popitem(last=False)
        return _bytes(values[row - ends[group] + len(values)].as_py())


def _bytes(value: Any) -> bytes:
    """Bytes as they are, or as `datasets` wraps a picture."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise Unfetchable("no_bytes")
    if len(data) > LARGEST_BYTES:
        raise Unfetchable("too_many_bytes")
    return data
