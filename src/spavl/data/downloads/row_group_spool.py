"""Reads candidates from large row groups: each group is read once, and the wanted rows are kept on disk.

Candidates come in the order of their leaves. Without the spool, a table with a single row group would be read from
its beginning for nearly every candidate.
"""

import tempfile
import threading
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from spavl.engine.isolated_cells import IsolatedCells
from spavl.imaging.local import cell_at
from spavl.imaging.unfetchable import Unfetchable
from spavl.store.files import disk_faults


class _SpoolFile(NamedTuple):
    """Where the bytes of a cell are in the spool, or the reason why they could not be read."""

    offset: int
    size: int
    reason: str = ""


class RowGroupSpool:
    """Reads cells as `Cells` does. `listed` returns all candidates' sources; it is called for large groups only."""

    def __init__(self, folder: Path, listed: Callable[[], Iterable[str]]) -> None:
        self._cells, self._listed = IsolatedCells(), listed
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        # The file has no name, so a crash leaves nothing behind; the system deletes it when it is closed.
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._aside: dict[tuple[str, str, int], dict[int, _SpoolFile]] = {}
        self._lock = threading.Lock()

    def get(self, path: str, column: str, row: int) -> bytes:
        # One call at a time: the reader holds two groups. A request for a third, while a large group is copied,
        # would make the reader drop that group and start it again.
        with self._lock:
            around = self._cells.large_group(path, column, row)
            if around is None:
                return self._cells.get(path, column, row)
            key = (path, column, around.start)
            if key not in self._aside:
                with disk_faults(self._folder):
                    self._aside[key] = self._put_aside(path, column, around)
            if (found := self._aside[key].get(row)) is None:
                return self._cells.get(path, column, row)
            if found.reason:
                raise Unfetchable(found.reason)
            self._file.seek(found.offset)
            return self._file.read(found.size)

    def close(self) -> None:
        self._file.close()

    def _put_aside(self, path: str, column: str, around: range) -> dict[int, _SpoolFile]:
        places: dict[int, _SpoolFile] = {}
        offset = self._file.seek(0, 2)
        for row in sorted({row for row in self._listed_rows[path, column] if row in around}):
            try:
                data = self._cells.get(path, column, row)
            except Unfetchable as error:
                places[row] = _SpoolFile(0, 0, str(error))
            else:
                self._file.write(data)
                places[row] = _SpoolFile(offset, len(data))
                offset += len(data)
        return places

    @cached_property
    def _listed_rows(self) -> Mapping[tuple[str, str], "array[int]"]:
        rows: defaultdict[tuple[str, str], array[int]] = defaultdict(lambda: array("q"))
        for source in self._listed():
            if place := cell_at(source):
                rows[place.path, place.column].append(place.row)
        return rows
