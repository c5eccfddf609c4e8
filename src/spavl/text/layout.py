"""Wraps sentences and lays out tables for a terminal."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise

# The maximum width of a table without a terminal.
_USUAL = 100
_INDENT, _GAP = "  ", "  "


def _terminal_width() -> int | None:
    """The width of the terminal; None for a file or a pipe, unless COLUMNS is set."""
    return shutil.get_terminal_size((0, 0)).columns or None


def wrapped_lines(text: str, hanging: str = "  ", indent: str = "") -> Iterator[str]:
    """A text wrapped to the terminal, or as one line without one. Long words, such as model names, are not broken.

    All lines start with `indent`, and all but the first with `hanging` after it.
    """
    width = _terminal_width() or max(1, len(indent + text))
    yield from textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table_lines(rows: Sequence[Sequence[str]], starts: Sequence[int] = (), *, named: bool = False) -> Iterator[str]:
    """A table with aligned columns; if it is wider than the terminal, several tables, each with the first column.

    It is split before one of the columns in `starts` if possible, else anywhere. If groups of columns are `named` after
    their first column, a line above each table that continues a group says so: "p" alone does not say of what.
    """
    head = rows[0]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for columns in _blocks(widths, starts):
        begun = max((start for start in starts if start <= columns[0]), default=columns[0])
        if named and begun != columns[0]:
            yield f"{_INDENT}{head[begun].strip()}, continued:"
        for row in rows:
            cells = (row[column].ljust(widths[column]) for column in (0, *columns))
            yield (_INDENT + _GAP.join(cells)).rstrip()


def _blocks(widths: Sequence[int], starts: Sequence[int]) -> Iterator[list[int]]:
    """The columns after the first, in blocks that fit the width; a group that does not fit is split anywhere."""
    room = (_terminal_width() or _USUAL) - len(_INDENT) - widths[0]
    block: list[int] = []
    for part in _parts(widths, starts):
        if block and _width(widths, [*block, *part]) > room:
            yield block
            block = []
        for column in part:
            if block and _width(widths, [*block, column]) > room:
                yield block
                block = []
            block.append(column)
    if block:
        yield block


def _parts(widths: Sequence[int], starts: Sequence[int]) -> Iterator[list[int]]:
    ends = sorted({1, *(starts or range(1, len(widths))), len(widths)})
    for start, end in pairwise(ends):
        yield list(range(start, end))


def _width(widths: Sequence[int], columns: Sequence[int]) -> int:
    return sum(len(_GAP) + widths[column] for column in columns)
