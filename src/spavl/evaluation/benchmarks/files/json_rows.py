"""Finds the rows in the content of a JSON file: a list, rows by key, a list beside metadata, or a single row."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spavl.errors import ConfigError

# Columns of which a single row has some, as a text or a conversation.
_OF_A_ROW = ("question", "prompt", "query", "instruction", "messages", "conversations", "chosen", "rejected")
# What each turn of a conversation names, its speaker, and each image in a cell.
_SPEAKERS, _HELD = ("role", "from"), ("bytes", "path")


def rows_in(found: Any, file: Path) -> list[Any]:
    """The rows, which may still be no objects. Raises if the file holds several lists of rows."""
    if not isinstance(found, dict):
        return list(found) if isinstance(found, list) else [found]
    lists = {name: value for name, value in found.items() if isinstance(value, list)}
    tables = [name for name, value in lists.items() if _is_of(value, dict) and not _is_cell(value)]
    if _is_row(found, bool(tables)):
        return [found]
    if len(tables) > 1:
        what = f"this file holds {len(tables)} lists of rows: {', '.join(tables)}"
        then = "put the list to be read into a file of its own"
        raise ConfigError(what, where=str(file), then=then)
    if tables:
        return list(lists[tables[0]])
    return max(lists.values(), key=len) if lists else list(_keyed_rows(found)) or [found]


def _is_row(found: Mapping[str, Any], has_tables: bool) -> bool:
    """Whether the object is a row itself, as the only one of a JSON-lines file is, and no table around rows.

    A single text beside a list of rows may be about all of them.
    """
    if any(_is_of(found.get(name), dict) and _is_cell(found[name]) for name in _OF_A_ROW):
        return True
    return sum(isinstance(found.get(name), str) for name in _OF_A_ROW) > has_tables


def _is_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, kind) for each in value)


def _is_cell(value: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list of objects is a cell of a row: the turns of a conversation, or images."""
    return any(all(any(name in each for name in names) for each in value) for names in (_SPEAKERS, _HELD))


def _keyed_rows(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield {"key": key, **value}
