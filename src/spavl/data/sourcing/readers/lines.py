"""CSV and JSON lines: rows that name an image by its URL or by a file name."""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from spavl.data.sourcing.readers.columns import find_columns
from spavl.data.sourcing.readers.entry import RowLimits, SkippedEntry, SourceEntry
from spavl.text.encodable import is_encodable

_LONGEST_LINE, _LONGEST_FIELD = 2**20, 2**17
_FAULTS = (csv.Error, OSError, EOFError, ValueError)


def from_csv(file: Path, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    try:
        with _open_text(file) as opened:
            rows = csv.DictReader(_lines(opened), delimiter="\t" if ".tsv" in file.suffixes else ",")
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
            yield None if any(len(field or ()) > _LONGEST_FIELD for field in row.values()) else row
        except csv.Error:
            yield None
        except StopIteration:
            return


def from_jsonl(file: Path, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    try:
        with _open_text(file) as opened:
            for number, line in enumerate(_lines(opened)):
                yield _of_line(file, number, line, limits)
    except _FAULTS:
        yield SkippedEntry(str(file), "broken_table")


def _of_line(file: Path, number: int, line: str, limits: RowLimits) -> SourceEntry | SkippedEntry:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not is_encodable(row):
        return SkippedEntry(f"{file}#{number}", "broken_row")
    return find_columns(row).entry_naming_image(row, file, number, limits)


def _open_text(file: Path) -> TextIO:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return file.open(encoding="utf-8-sig", errors="replace", newline="")


def _lines(opened: TextIO) -> Iterator[str]:
    """The lines, each cut at a limit, because a compressed file may hold a line of many gigabytes."""
    while line := opened.readline(_LONGEST_LINE):
        yield line
        while line and not line.endswith(("\n", "\r")):
            line = opened.readline(_LONGEST_LINE)
