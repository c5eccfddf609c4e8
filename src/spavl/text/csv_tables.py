"""Opens tables of text as spreadsheets and other tools write them: with a BOM, in UTF-16, or with semicolons."""

import codecs
import csv
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Where a decimal comma is usual, spreadsheets separate cells by semicolons.
_SEPARATORS = (",", ";", "\t", "|")


def open_text(file: Path, errors: str = "strict") -> TextIO:
    """Open a file, which may be compressed by gzip. Line ends are kept as they are."""
    is_packed = file.suffix.lower() == ".gz"
    with gzip.open(file, "rb") if is_packed else file.open("rb") as opened:
        encoding = "utf-16" if opened.read(2) in _WIDE else "utf-8-sig"
    if is_packed:
        return gzip.open(file, "rt", encoding=encoding, errors=errors, newline="")
    return file.open(encoding=encoding, errors=errors, newline="")


def separator_of(header: str, file: Path) -> str:
    """What separates the cells: as the file's ending says, unless the first line has only another separator."""
    usual = "\t" if ".tsv" in map(str.lower, file.suffixes) else ","
    return next((sign for sign in (usual, *_SEPARATORS) if sign in header), usual)


def dict_reader(lines: Iterable[str], file: Path) -> "csv.DictReader[str]":
    """The rows by their columns. A quote within a cell that is not doubled raises instead of damaging the row."""
    found = iter(lines)
    header = next(found, "")
    return csv.DictReader(_after(header, found), delimiter=separator_of(header, file), strict=True)


def is_ragged(row: dict[str, str]) -> bool:
    """Whether a row has more or fewer cells than the header."""
    return None in row or None in row.values()


def _after(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines
