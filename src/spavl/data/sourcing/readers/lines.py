"""CSV, JSON lines and JSON arrays: rows that name an image by its URL or by a file name."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from spavl.data.sourcing.readers.columns import find_columns
from spavl.data.sourcing.readers.entry import RowLimits, SkippedEntry, SourceEntry
from spavl.text.csv_tables import dict_reader, is_ragged, open_text
from spavl.text.encodable import is_encodable

_LONGEST_LINE, _LONGEST_FIELD = 2**20, 2**17
_FAULTS = (csv.Error, OSError, EOFError, ValueError)


def from_csv(file: Path, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    try:
        with open_text(file, "surrogateescape") as opened:
            rows = dict_reader(_lines(opened), file)
            columns = find_columns(name for name in rows.fieldnames or () if name)
            if not columns.name_images():
                yield SkippedEntry(str(file), "no_url_column")
                return
            for number, row in enumerate(_readable(rows)):
                yield (
                    columns.entry_naming_image(row, file, number, limits)
                    if row
                    else SkippedEntry(f"{file}#{number}", "broken_row")
                )
    except _FAULTS:
        yield SkippedEntry(str(file), "broken_table")


def _readable(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any] | None]:
    """The rows; None for a row that cannot be read, since the rows after it may be readable."""
    while True:
        try:
            row = next(rows)
            # The csv module has its own limit, but it is global to the process, and other code may have raised it.
            yield None if is_ragged(row) or any(len(field) > _LONGEST_FIELD for field in row.values()) else row
        except csv.Error:
            yield None
        except StopIteration:
            return


def from_jsonl(file: Path, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    try:
        with open_text(file, "replace") as opened:
            for number, line in enumerate(_lines(opened)):
                yield _of_line(file, number, line, limits)
    except _FAULTS:
        yield SkippedEntry(str(file), "broken_table")


def from_json(file: Path, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    """The rows of an array or of an object, of the array under `data` as pandas writes tables, or of JSON lines."""
    try:
        with open_text(file, "replace") as opened:
            if (rows := _rows_of_array(opened)) is not None:
                for number, row in enumerate(rows):
                    yield _of_row(file, number, row, limits)
                return
            opened.seek(0)
            is_lines = _names_image(_json_or_none(opened.readline(_LONGEST_LINE)))
        yield from from_jsonl(file, limits) if is_lines else (SkippedEntry(str(file), "no_table"),)
    except (*_FAULTS, RecursionError):
        yield SkippedEntry(str(file), "broken_table")


def _rows_of_array(opened: TextIO) -> Iterable[Any] | None:
    try:
        found = json.load(opened)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        # A list of rows beside metadata, or rows by their keys.
        found = found.get("data") or [row for row in found.values() if _names_image(row)]
    return found if isinstance(found, list) and any(isinstance(row, dict) for row in found) else None


def _names_image(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    columns = find_columns(row)
    return any(isinstance(row.get(name), str) for name in (*columns.file, *columns.url))


def _of_line(file: Path, number: int, line: str, limits: RowLimits) -> SourceEntry | SkippedEntry:
    return _of_row(file, number, _json_or_none(line), limits)


def _json_or_none(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _of_row(file: Path, number: int, row: Any, limits: RowLimits) -> SourceEntry | SkippedEntry:
    if not isinstance(row, dict) or not is_encodable(row):
        return SkippedEntry(f"{file}#{number}", "broken_row")
    return find_columns(row).entry_naming_image(row, file, number, limits)


def _lines(opened: TextIO) -> Iterator[str]:
    """The lines, each cut at a limit, because a compressed file may hold a line of many gigabytes."""
    while line := opened.readline(_LONGEST_LINE):
        yield _decode_line(line)
        while line and not line.endswith(("\n", "\r")):
            line = opened.readline(_LONGEST_LINE)


def _decode_line(line: str) -> str:
    """A line that is not UTF-8 is read as Windows writes it in the West, as spreadsheets do by default."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return line.encode(errors="surrogateescape").decode("cp1252", "replace")
    return line
