"""Reads the files of benchmarks as they are published: tables and lists of rows, and the images these name."""

import base64
import binascii
import csv
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from spavl.engine.isolated_cells import IsolatedCells, sendable_apart
from spavl.engine.isolated_reader import rows_apart
from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files.json_rows import rows_in
from spavl.evaluation.benchmarks.files.parquet_cells import (
    FAULTS,
    DeferredCell,
    arrow_cells,
    check_once,
    parquet_cells,
    unreadable,
)
from spavl.evaluation.benchmarks.files.same_rows import SameRows
from spavl.evaluation.benchmarks.types import Bytes
from spavl.imaging.local import read_local
from spavl.imaging.sendable import NotSendable
from spavl.imaging.unfetchable import Unfetchable
from spavl.store.files import unicode_forms
from spavl.text.csv_tables import dict_reader, is_ragged, open_text
from spavl.text.encodable import is_encodable

T = TypeVar("T")

# A cell of a TSV may be a whole image in base64.
_LONGEST_CELL = 2**28
_GET_AGAIN = "download the file again"
_PUT_THERE = "put the image there, or write the name of the file that is there into this cell"
# How JPEG, PNG, WebP and GIF begin in base64.
_IN_BASE64 = ("/9j/", "iVBORw0KGgo", "UklGR", "R0lGOD")
_LONGEST_TOLD = 80

# JSON files: only these can hold half a character (a lone surrogate).
_MAY_HOLD_HALVES = (".json", ".jsonl")

# Reads the bytes of a cell's images when called. A list may hold several.
AllBytes = Callable[[], tuple[bytes, ...]]


class BenchmarkRow(NamedTuple):
    """A row of a file. Images inside a Parquet file are read only when needed."""

    file: Path
    number: int
    cells: Mapping[str, Any]
    inside: IsolatedCells | None = None

    def maybe(self, *spellings: str) -> Any:
        """The cell of the column that has one of these names; None if there is no such column."""
        return None if _column_among(tuple(self.cells), spellings) is None else self.cell(*spellings)

    def cell(self, *spellings: str) -> Any:
        if (name := _column_among(tuple(self.cells), spellings)) is None:
            there = ", ".join(self.cells) or "none"
            raise ConfigError(
                f"no column {spellings[0]!r}; the spellings known are {', '.join(spellings)}, and there are {there}",
                where=f"{self.file}, row {self.number}",
                then="give the file as it is published, or rename the column to one of these",
            )
        value = self.cells[name]
        if isinstance(value, DeferredCell):
            what = f"this column is {value.kind}, and text is needed"
            raise ConfigError(what, where=self._place(name), then="write the column as strings")
        if self.file.suffix.lower() in _MAY_HOLD_HALVES and not is_encodable(value):
            what = "this cell holds half a character (a lone surrogate), which cannot be written"
            raise ConfigError(what, where=self._place(name), then="write the whole character, or leave it out")
        return value

    def question_text(self, *spellings: str) -> str:
        """The text of a question. Raises if the cell is empty or holds no text."""
        value = self.cell(*spellings)
        if not isinstance(value, str) or not value.strip():
            told = (
                "is empty"
                if value is None or value != value or value == ""
                else f"holds {str(value)[:_LONGEST_TOLD]!r}"
            )
            what = f"this row asks nothing: its cell {told}"
            raise ConfigError(
                what, where=self._place(_column_among(tuple(self.cells), spellings) or ""), then=_GET_AGAIN
            )
        return value

    def text(self, *spellings: str) -> str:
        return _words(self.cell(*spellings))

    def maybe_text(self, *spellings: str) -> str:
        return _words(self.maybe(*spellings))

    def image(
        self, *columns: str, folders: Sequence[Path] = (), names: Sequence[str] = (), get: str = _GET_AGAIN
    ) -> Bytes:
        """The image that one of these columns holds or names; if there is no such column, the file of these names."""
        if (found := self.maybe_image(*columns, folders=folders, get=get)) is not None:
            return found
        there = [column for column in columns if column in self.cells]
        if names and not there:
            return image_in(folders, names, get)
        if not there:
            self.cell(*columns)
        raise ConfigError("this row has no image: its cell is empty", where=self._place(" or ".join(there)), then=get)

    def maybe_image(self, *columns: str, folders: Sequence[Path] = (), get: str = _GET_AGAIN) -> Bytes | None:
        """Like `image`; None if there is no such column, or its cell is empty."""
        for column in columns:
            if (found := self.maybe_images(column, folders, get)) is not None:
                return functools.partial(
                    _sendable_image, functools.partial(_only, found, self._place(column)), self._place(column)
                )
        return None

    def maybe_images(self, column: str, folders: Sequence[Path] = (), get: str = _GET_AGAIN) -> AllBytes | None:
        """The images that a cell holds or names, several if it is a list; None if it is empty."""
        place = _Place(self._place(column), [*folders] or [self.file.parent], get)
        value = self.cells.get(column)
        if not isinstance(value, DeferredCell):
            return _images(value, place)
        if not value.holds_images or self.inside is None:
            raise ConfigError(f"this column is {value.kind}, which is no image", where=place.where, then=get)
        if self.inside.is_empty(str(self.file), column, self.number):
            return _images(value.beside, place)
        cell = functools.partial(self.inside.get_all, str(self.file), column, self.number, holes=True)
        return functools.partial(_in_cell, cell, value.beside, place)

    def image_name(self, *columns: str) -> str:
        """The name of the image file in one of these columns; empty if there is none.

        A name beside bytes is ignored: that file is not here, and many images may share the name, because `datasets`
        keeps only its last part.
        """
        value = next((self.cells[column] for column in columns if column in self.cells), None)
        name = value.get("path") if isinstance(value, dict) and not value.get("bytes") else value
        return name if isinstance(name, str) and not _in_itself(name) else ""

    def _place(self, column: str) -> str:
        return f"{self.file}, row {self.number}, column {column}"


class _Place(NamedTuple):
    """The position of a cell, the folders of the images that it names, and how to get them."""

    where: str
    folders: Sequence[Path]
    get: str


def rows(file: Path) -> Iterator[BenchmarkRow]:
    """The rows of a CSV, TSV, JSON, JSON-lines, Parquet or Arrow file, streamed if the format allows."""
    if (read := _READERS.get(file.suffix.lower())) is None:
        what = f"files that end in {file.suffix or 'nothing'} are not read, but those in {', '.join(_READERS)}"
        raise ConfigError(what, where=str(file), then="unpack it, or write it in one of these formats")
    try:
        yield from read(file)
    except FAULTS as error:
        raise unreadable(file, error) from None


def rows_of(files: Sequence[Path], texts: Sequence[str] = ()) -> Iterator[BenchmarkRow]:
    """The rows of a benchmark's files. Raises if two files have the same rows, told by these columns or by all."""
    seen = SameRows(texts, rows)
    for file in files:
        for row in rows(file):
            if len(files) > 1:
                seen.add(file, row)
            yield row
        seen.end(file)


def need(folder: Path, patterns: Sequence[str], get: str) -> list[Path]:
    """The files of the first pattern that matches any. Raises if none does."""
    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), then=get)
    for pattern in patterns:
        if files := sorted(file for file in folder.glob(pattern) if file.is_file()):
            return files
    raise ConfigError(f"no file {' or '.join(patterns)} in this folder", where=str(folder), then=get)


def image_in(folders: Sequence[Path], names: Sequence[str], get: str) -> Bytes:
    """The image file of one of these names, which are not trusted, under one of these folders."""
    file = _find_image_file(folders, names, get)
    return functools.partial(_sendable_image, functools.partial(_file, file), str(file))


def _find_image_file(folders: Sequence[Path], names: Sequence[str], get: str) -> Path:
    for name in names:
        if leads_out(name):
            # Older `datasets` keep the whole path of an image's file in place of its bytes.
            then = "put the images beside the file and their names in it, or their bytes; save_to_disk of datasets does"
            raise ConfigError("an image's name leads out of its folder", where=name[:_LONGEST_TOLD], then=then)
    for file in (folder / form for folder in folders for name in names for form in unicode_forms(name)):
        if _is_file(file):
            return file
    what = f"the image {names[0][:_LONGEST_TOLD]} is missing"
    raise ConfigError(what, where=" or ".join(map(str, folders)), then=get)


def image_of_base64(text: str, where: str) -> Bytes:
    """An image in base64, possibly in a data URL."""
    if not text.strip():
        raise ConfigError("this row has no image: its cell is empty", where=where, then=_GET_AGAIN)
    return functools.partial(_sendable_image, functools.partial(_decode_base64, text, where), where)


def leads_out(name: str) -> bool:
    return name.startswith(("/", "~")) or "\\" in name or "\0" in name or ".." in Path(name).parts


def strange(what: str, row: BenchmarkRow, then: str = _GET_AGAIN) -> ConfigError:
    return ConfigError(what, where=f"{row.file}, row {row.number}", then=then)


@functools.lru_cache(maxsize=1024)
def _column_among(names: tuple[str, ...], spellings: tuple[str, ...]) -> str | None:
    return next((spelling for spelling in spellings if spelling in names), None)


def _words(value: Any) -> str:
    return "" if value is None else str(value)


def _csv(file: Path) -> Iterator[BenchmarkRow]:
    csv.field_size_limit(_LONGEST_CELL)
    with open_text(file) as opened:
        table = dict_reader(opened, file)
        check_once([name for name in table.fieldnames or () if name])
        for number, cells in enumerate(table):
            if is_ragged(cells):
                then = "write it again, with each quote within a quoted cell doubled"
                raise ConfigError(
                    "this row has more or fewer cells than the header", where=f"{file}, row {number}", then=then
                )
            yield BenchmarkRow(file, number, cells)


def _json(file: Path) -> Iterator[BenchmarkRow]:
    text = file.read_text(encoding="utf-8-sig")
    try:
        found = json.loads(text)
    except ValueError:
        # Several data sets name a JSON-lines file .json.
        yield from _json_lines(file)
        return
    for number, cells in enumerate(rows_in(found, file)):
        yield _row_of_json(file, number, cells)


def _json_lines(file: Path) -> Iterator[BenchmarkRow]:
    # Iterates over the file because `splitlines` also splits at characters that a JSON string may contain.
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(filter(str.strip, lines)):
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise unreadable(f"{file}, row {number}", error) from None
            yield _row_of_json(file, number, cells)


def _row_of_json(file: Path, number: int, cells: Any) -> BenchmarkRow:
    if not isinstance(cells, dict):
        then = 'write a list of rows, each with the names of its columns; pandas calls it orient="records"'
        raise ConfigError("this file holds no rows with the names of their columns", where=str(file), then=then)
    return BenchmarkRow(file, number, cells)


def _columnar_rows(file: Path) -> Iterator[BenchmarkRow]:
    inside, read = IsolatedCells(), arrow_cells if file.suffix.lower() == ".arrow" else parquet_cells
    for number, cells in enumerate(rows_apart(read, file, file=str(file))):
        yield BenchmarkRow(file, number, cells, inside)


_READERS: dict[str, Callable[[Path], Iterator[BenchmarkRow]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".json": _json,
    ".jsonl": _json_lines,
    ".parquet": _columnar_rows,
    ".arrow": _columnar_rows,
}


def _images(value: Any, place: _Place) -> AllBytes | None:
    """The images that a value holds or names: a text, `{"bytes": ..., "path": ...}`, or a list of these."""
    # NaN is not equal to itself; tables write it for an empty cell.
    if value is None or value != value:
        return None
    if isinstance(value, list):
        found = [images for each in value if (images := _images(each, place)) is not None]
        return functools.partial(_together, found) if found else None
    if isinstance(value, dict) and ("bytes" in value or "path" in value):
        if isinstance(data := value.get("bytes"), str) and data:
            return functools.partial(_alone, functools.partial(_decode_base64, data, place.where))
        return _images(value.get("path"), place)
    if not isinstance(value, str):
        what = f"no image can be read from this cell: {str(value)[:_LONGEST_TOLD]}"
        raise ConfigError(what, where=place.where, then=place.get)
    return functools.partial(_alone, _in_text(value.strip(), place)) if value.strip() else None


def _in_text(text: str, place: _Place) -> Bytes:
    if _in_itself(text):
        return functools.partial(_decode_base64, text, place.where)
    if text.lower().startswith(("http://", "https://")):
        what = f"this row has only the address of its image, which is not downloaded: {text[:_LONGEST_TOLD]}"
        then = "put the bytes of the images into the file, or their files beside it and their names into the column"
        raise ConfigError(what, where=place.where, then=then)
    try:
        return functools.partial(_file, _find_image_file(place.folders, (text,), place.get))
    except ConfigError as error:
        then = _PUT_THERE if error.then == _GET_AGAIN else error.then
        raise ConfigError(error.what, where=f"{place.where}: {error.where}", then=then) from None


def _in_itself(text: str) -> bool:
    return text.startswith(("data:", *_IN_BASE64))


def _alone(image: Bytes) -> tuple[bytes, ...]:
    return (image(),)


def _together(found: Sequence[AllBytes]) -> tuple[bytes, ...]:
    return tuple(image for images in found for image in images())


def _only(found: AllBytes, where: str) -> bytes:
    images = found()
    if len(images) > 1:
        what = f"this row has {len(images)} images, and the benchmark shows one"
        raise ConfigError(what, where=where, then=_GET_AGAIN)
    return images[0]


def _in_cell(cell: AllBytes, beside: Any, place: _Place) -> tuple[bytes, ...]:
    """The images of a cell. In a list, some may be bytes and others names of files."""
    held = _had(place.where, cell)
    named = beside if isinstance(beside, list) and len(beside) == len(held) else [None] * len(held)
    found = list[bytes]()
    for data, name in zip(held, named, strict=True):
        images = None if data else _images(name, place)
        found += [data] if data else images() if images else []
    return tuple(found)


def _file(file: Path) -> bytes:
    return _had(str(file), lambda: read_local(f"file:{file}", IsolatedCells()))


def _is_file(file: Path) -> bool:
    """False also for a name that is longer than the file system allows."""
    try:
        return file.is_file()
    except OSError:
        return False


def _had(where: str, read: Callable[[], T]) -> T:
    try:
        if had := read():
            return had
        reason = "it is empty"
    except Unfetchable as error:
        reason = str(error)
    raise ConfigError(f"this image cannot be had: {reason}", where=where, then="download it again")


def _sendable_image(read: Bytes, where: str) -> bytes:
    """The image of a row in a form that models accept. Raises if it is no image, before any model is called."""
    try:
        return sendable_apart(read())
    except NotSendable as error:
        then = "download it again, or put an image there that can be opened"
        raise ConfigError(str(error), where=where, then=then) from None


def _decode_base64(text: str, where: str) -> bytes:
    text = text.strip()
    text = text.partition(",")[2] if text.startswith("data:") else text
    try:
        # Some writers insert line breaks.
        if data := base64.b64decode("".join(text.split()), validate=True):
            return data
        error: Exception = ValueError("it is empty")
    except (binascii.Error, ValueError) as fault:
        error = fault
    raise ConfigError(f"not an image in base64: {error}", where=where, then=_GET_AGAIN)
