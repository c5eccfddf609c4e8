"""Reads options and right answers from third-party rows. A key that cannot be right raises, and is never scored."""

import json
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from spavl.evaluation.benchmarks.files.row_files import BenchmarkRow, strange

_LONGEST_TOLD = 80


def texts_of_cell(row: BenchmarkRow, *spellings: str) -> list[str]:
    """A list of texts, which some tables hold as JSON."""
    value = row.cell(*spellings)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise _no_texts(row, spellings[0], value) from None
    if not isinstance(value, list) or not all(map(_is_text, value)):
        raise _no_texts(row, spellings[0], value)
    return [str(each) for each in value]


def letter_at(row: BenchmarkRow, options: Sequence[str], *spellings: str) -> str:
    """The letter of the right option by its place, counted from 0."""
    value = row.cell(*spellings)
    text = str(value)
    # In columns with empty cells, pandas turns 1 into 1.0.
    whole = isinstance(value, float) and value.is_integer() and value >= 0
    if isinstance(value, bool) or not (whole or (text.isascii() and text.isdecimal())):
        raise strange(f"the key {text[:_LONGEST_TOLD]!r} is no place in the list of options, counted from 0", row)
    return _require_offered_key(ascii_uppercase[int(value)] if int(value) < len(options) else text, row, options)


def letter(row: BenchmarkRow, options: Sequence[str], *spellings: str) -> str:
    """The letter of the right option."""
    return _require_offered_key(row.text(*spellings).strip().upper(), row, options)


def words(row: BenchmarkRow, *spellings: str) -> str:
    """An option, or a right answer, in words or numbers."""
    value = row.cell(*spellings)
    if not _is_text(value) or not str(value).strip():
        raise strange(f"the cell {spellings[0]} holds {str(value)[:_LONGEST_TOLD]!r}, and words are needed", row)
    return str(value)


def _is_text(value: Any) -> bool:
    # NaN is not equal to itself.
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value == value


def _require_offered_key(found: str, row: BenchmarkRow, options: Sequence[str]) -> str:
    if len(options) < 2:
        raise strange(f"a question of multiple choice offers {len(options)} options", row)
    there = [each for each, option in zip(ascii_uppercase, options, strict=False) if option.strip()]
    if found not in there:
        raise strange(
            f"the key {found[:_LONGEST_TOLD]!r} is none of the options that are offered, {', '.join(there)}", row
        )
    return found


def _no_texts(row: BenchmarkRow, column: str, value: Any) -> Exception:
    return strange(f"the column {column} holds no list of texts, but {str(value)[:_LONGEST_TOLD]!r}", row)
