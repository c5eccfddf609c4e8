"""Files of benchmarks as their makers publish them: tables and lists of rows, and the pictures these name."""

import base64
import binascii
import csv
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.benchmarks.types import Bytes
from spavl.errors import ConfigError
from spavl.imaging.cells import Cells
from spavl.imaging.local import read_local
from spavl.imaging.unfetchable import Unfetchable

# A cell of a TSV may be a whole picture in base64.
_LONGEST_CELL = 2**28
_ROWS_AT_ONCE = 512
_FAULTS = (OSError, ValueError, RecursionError, csv.Error, pa.ArrowException)


class Row(NamedTuple):
    """A row of a file. Pictures inside a Parquet file are not in `cells` but read when they are asked for."""

    file: Path
    number: int
    cells: Mapping[str, Any]
    pictures: Cells | None = None

    def maybe(self, *spellings: str) -> Any:
        """The cell of a column by the spellings that are known of its name; None if there is none."""
        name = _spelled(tuple(self.cells), spellings)
        return None if name is None else self.cells[name]

    def cell(self, *spellings: str) -> Any:
        if (name := _spelled(tuple(self.cells), spellings)) is None:
            there = ", ".join(self.cells) or "none"
            raise ConfigError(
                f"no column {spellings[0]!r}; the spellings known are {', '.join(spellings)}, and there are {there}",
                where=f"{self.file}, row {self.number}",
                then="give the file as it is published, or rename the column to one of these",
            )
        return self.cells[name]

    def text(self, *spellings: str) -> str:
        return _words(self.cell(*spellings))

    def maybe_text(self, *spellings: str) -> str:
        return _words(self.maybe(*spellings))

    def picture(self, column: str, folders: Sequence[Path] = (), get: str = "") -> Bytes | None:
        """The picture that a cell holds, or that it names under one of the folders; None where the cell is empty."""
        value = self.maybe(column)
        if self.pictures is not None and not isinstance(value, str):
            name = _spelled(tuple(self.cells), (column,))
            return None if value in (None, []) else functools.partial(_cell, self.pictures, self, str(name))
        name = str(value or "").strip()
        return picture_in(folders, (name,), get) if name else None


def rows(file: Path) -> Iterator[Row]:
    """The rows of a CSV, TSV, JSON, JSON-lines or Parquet file, a few in memory at a time where its form allows."""
    try:
        yield from _READERS[file.suffix.lower()](file)
    except _FAULTS as error:
        raise ConfigError(f"this file cannot be read: {error}", where=str(file), then="download it again") from None


def rows_of(files: Sequence[Path]) -> Iterator[Row]:
    for file in files:
        yield from rows(file)


def need(folder: Path, patterns: Sequence[str], get: str) -> list[Path]:
    """The files of the first pattern that fits any."""
    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), then=get)
    for pattern in patterns:
        if files := sorted(file for file in folder.glob(pattern) if file.is_file()):
            return files
    raise ConfigError(f"no file {' or '.join(patterns)} in this folder", where=str(folder), then=get)


def picture_in(folders: Sequence[Path], names: Sequence[str], get: str) -> Bytes:
    """The file of one of these names, which a stranger wrote, under one of these folders."""
    for name in names:
        if leads_out(name):
            then = "the file that names it was changed or is not what it should be; download it again"
            raise ConfigError("a picture's name leads out of its folder", where=name, then=then)
    for file in (folder / name for folder in folders for name in names):
        if file.is_file():
            return functools.partial(_file, file)
    raise ConfigError(f"the picture {names[0]} is missing", where=" or ".join(map(str, folders)), then=get)


def picture_of_base64(text: str, where: str) -> Bytes:
    return functools.partial(_decoded, text, where)


def leads_out(name: str) -> bool:
    return name.startswith(("/", "~")) or "\\" in name or "\0" in name or ".." in Path(name).parts


def strange(what: str, row: Row, then: str = "download the file again") -> ConfigError:
    return ConfigError(what, where=f"{row.file}, row {row.number}", then=then)


@functools.lru_cache(maxsize=1024)
def _spelled(names: tuple[str, ...], spellings: tuple[str, ...]) -> str | None:
    return next((spelling for spelling in spellings if spelling in names), None)


def _words(value: Any) -> str:
    return "" if value is None else str(value)


def _csv(file: Path) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    with file.open(encoding="utf-8-sig", newline="") as opened:
        for number, cells in enumerate(csv.DictReader(opened, delimiter="\t" if file.suffix == ".tsv" else ",")):
            yield Row(file, number, {name: cell for name, cell in cells.items() if name is not None})


def _json(file: Path) -> Iterator[Row]:
    text = file.read_text(encoding="utf-8-sig")
    try:
        found = json.loads(text)
    except ValueError:
        # Several sets call a file of JSON lines .json.
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list)]
        # Either rows under their keys, or a list of rows among words about the set.
        found = max(lists, key=len) if lists else [{"key": key, **value} for key, value in _keyed(found)]
    for number, cells in enumerate(found):
        if not isinstance(cells, dict):
            raise ValueError("it holds no rows")
        yield Row(file, number, cells)


def _keyed(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield key, value


def _parquet(file: Path) -> Iterator[Row]:
    pictures = Cells()
    with pq.ParquetFile(file, pre_buffer=False) as table:
        parts = [table.schema.column(number) for number in range(len(table.schema))]
        # Bytes without a meaning are pictures; what else there is of them, such as their names, is read.
        wanted = [part.path for part in parts if not _is_bytes(part)]
        bare: dict[str, Any] = {part.path: {} for part in parts if _is_bytes(part) and "." not in part.path}
        number = 0
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=wanted):
            for cells in batch.to_pylist():
                yield Row(file, number, bare | cells, pictures)
                number += 1


def _is_bytes(part: Any) -> bool:
    return (part.physical_type, part.logical_type.type, part.converted_type) == ("BYTE_ARRAY", "NONE", "NONE")


_READERS = {".csv": _csv, ".tsv": _csv, ".json": _json, ".jsonl": _json, ".parquet": _parquet}


def _cell(cells: Cells, row: Row, column: str) -> bytes:
    return _had(f"{row.file}, row {row.number}", lambda: cells.get(str(row.file), column, row.number))


def _file(file: Path) -> bytes:
    return _had(str(file), lambda: read_local(f"file:{file}", Cells()))


def _had(where: str, read: Bytes) -> bytes:
    try:
        return read()
    except Unfetchable as error:
        raise ConfigError(f"this picture cannot be had: {error}", where=where, then="download it again") from None


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"not a picture in base64: {error}", where=where, then="download the file again") from None
