"""Finds files of a benchmark that hold the same rows, such as a second download: their items would count twice."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files.parquet_cells import DeferredCell

# A row's texts, and how many rows of its file before it have the same.
_Texts = tuple[bytes, int]
# The share of a file's rows that must also be in another one. Parts of a benchmark may have some in common, as POPE's.
_MOST = 0.9
# How many of the rows with equal texts are compared by their images too.
_COMPARED = 4


class _ReadRow(Protocol):
    """What is used of a row."""

    @property
    def number(self) -> int: ...

    @property
    def cells(self) -> Mapping[str, Any]: ...

    def maybe_images(self, column: str) -> Callable[[], tuple[bytes, ...]] | None: ...


class _SeenRow(NamedTuple):
    file: Path
    number: int


class SameRows:
    """The rows of the files that were read so far. Rows are equal if their texts and their images are."""

    def __init__(self, texts: Sequence[str], rows: Callable[[Path], Iterable[_ReadRow]]) -> None:
        # The columns whose texts are compared, all if empty; and what reads a file.
        self._columns, self._rows = texts, rows
        self._seen: dict[_Texts, list[_SeenRow]] = {}
        self._sizes: dict[Path, int] = {}
        self._own = Counter[bytes]()
        self._alike: dict[Path, list[tuple[int, int]]] = {}

    def add(self, file: Path, row: _ReadRow) -> None:
        digest = hashlib.blake2b(repr(self._texts_of(row.cells)).encode("utf-8", "replace"), digest_size=16).digest()
        alike = self._seen.setdefault((digest, self._own[digest]), [])
        self._own[digest] += 1
        for each in alike:
            self._alike.setdefault(each.file, []).append((each.number, row.number))
        alike.append(_SeenRow(file, row.number))

    def end(self, file: Path) -> None:
        """Raises if the rows of the file that ends here are those of one before, or contain or are part of them."""
        size = sum(self._own.values())
        for other, pairs in self._alike.items():
            if len(pairs) >= _MOST * min(size, self._sizes[other]) and self._have_same_images(other, file, pairs):
                what = f"{len(pairs)} of its {size} rows are in {other} too, and would count twice"
                raise ConfigError(what, where=str(file), then="remove one of the two files")
        self._sizes[file] = size
        self._own.clear()
        self._alike.clear()

    def _texts_of(self, cells: Mapping[str, Any]) -> list[tuple[str, Any]]:
        names = [name for name in self._columns if name in cells] or list(cells)
        return [(name, cell.beside if isinstance(cell := cells[name], DeferredCell) else cell) for name in names]

    def _have_same_images(self, one: Path, other: Path, pairs: Sequence[tuple[int, int]]) -> bool:
        some = pairs[:: max(1, len(pairs) // _COMPARED)][:_COMPARED]
        ones, others = zip(*some, strict=True)
        return self._images_of(one, ones) == self._images_of(other, others)

    def _images_of(self, file: Path, numbers: Sequence[int]) -> list[list[tuple[bytes, ...]]]:
        found = {row.number: row for row in self._rows(file) if row.number in numbers}
        return [_images_inside(found[number]) for number in numbers]


def _images_inside(row: _ReadRow) -> list[tuple[bytes, ...]]:
    """The images that a row of a table holds; none if they cannot be read."""
    columns = [name for name, cell in row.cells.items() if isinstance(cell, DeferredCell) and cell.holds_images]
    try:
        return [images() for name in columns if (images := row.maybe_images(name)) is not None]
    except ConfigError:
        return []
