"""Frozen records as JSON and back: one writer and one reader for dataclasses and NamedTuples, by their type hints.

A field of JSON has the name of the record's field. JSON has no NaN and no infinity: they are written as null, and null
is read back as NaN, or as the open end of an interval.
"""

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from spavl.statistics import Estimate

T = TypeVar("T")
_MISSING = object()


class NotThisRecord(ValueError):
    """The JSON is not a record of the expected type; the message says where and why."""


def to_json(value: object) -> Any:
    """Convert a record, or a tuple or mapping of records, to a value that `json.dumps` accepts."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: to_json(each) for key, each in value.items()}
    kind: Any = type(value)
    if (names := _names(kind)) is not None:
        return {name: to_json(getattr(value, name)) for name in names}
    if isinstance(value, tuple | list):
        return [to_json(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def from_json(kind: type[T], raw: object, where: str = "") -> T:
    """The record that `to_json` wrote. Missing, unknown and wrong fields raise `NotThisRecord`."""
    found: T = _read(kind, raw, where)
    return found


def _read(kind: Any, raw: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _read_union(arguments, raw, where)
    if origin is Literal:
        return raw if raw in arguments else _fail(where, f"one of {', '.join(map(repr, arguments))}", raw)
    if origin is tuple:
        entries = raw if isinstance(raw, list) else _fail(where, "a list", raw)
        return tuple(_read(arguments[0], each, f"{where}[{place}]") for place, each in enumerate(entries))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        table = raw if isinstance(raw, dict) else _fail(where, "a table", raw)
        return {
            _read(arguments[0], key, where): _read(arguments[1], each, f"{where}.{key}") for key, each in table.items()
        }
    if issubclass(kind, BaseModel):
        return _read_settings(kind, raw, where)
    if _names(kind) is not None:
        return _read_record(kind, raw, where)
    return _read_plain(kind, raw, where)


def _read_union(kinds: tuple[Any, ...], raw: Any, where: str) -> Any:
    if raw is None and NoneType in kinds:
        return None
    first: NotThisRecord | None = None
    for kind in kinds:
        try:
            return _read(kind, raw, where)
        except NotThisRecord as error:
            first = first or error
    raise first or NotThisRecord(where)


def _read_settings(kind: type[BaseModel], raw: Any, where: str) -> BaseModel:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise NotThisRecord(f"{where or 'the file'}: {error}") from None


def _read_record(kind: Any, raw: Any, where: str) -> Any:
    table = raw if isinstance(raw, dict) else _fail(where, "a table", raw)
    hints, defaults = _hints(kind), _defaults(kind)
    if unknown := table.keys() - hints.keys():
        raise NotThisRecord(f"{where or 'the file'} has an unknown field {min(unknown)}")
    values = {}
    for name, hint in hints.items():
        place = f"{where}.{name}" if where else name
        if name in table:
            values[name] = _read(hint, _open_end(kind, name, table[name]), place)
        elif defaults.get(name, _MISSING) is _MISSING:
            raise NotThisRecord(f"{place} is missing")
    return kind(**values)


def _open_end(kind: Any, name: str, raw: Any) -> Any:
    """Replace null at an end of an interval by infinity: the end is open."""
    if kind is Estimate and raw is None and name in ("low", "high"):
        return -math.inf if name == "low" else math.inf
    return raw


def _read_plain(kind: Any, raw: Any, where: str) -> Any:
    if kind is float:
        if raw is None:
            return math.nan
        return raw if isinstance(raw, int | float) and not isinstance(raw, bool) else _fail(where, "a number", raw)
    if kind is Path:
        return Path(raw) if isinstance(raw, str) else _fail(where, "a path", raw)
    fits = isinstance(raw, kind) and not (kind is int and isinstance(raw, bool))
    return raw if fits else _fail(where, kind.__name__, raw)


def _fail(where: str, wanted: str, raw: Any) -> Any:
    raise NotThisRecord(f"{where or 'the file'} should be {wanted}, and is {str(raw)[:60]!r}")


@cache
def _names(kind: Any) -> tuple[str, ...] | None:
    """The fields of a record type; None for other types."""
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return getattr(kind, "_fields", None) if issubclass(kind, tuple) else None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {name: hints[name] for name in _names(kind) or ()}


@cache
def _defaults(kind: Any) -> Mapping[str, Any]:
    if not dataclasses.is_dataclass(kind):
        defaults: Mapping[str, Any] = kind._field_defaults
        return defaults
    given = {field.name: field.default for field in dataclasses.fields(kind)}
    made = {field.name for field in dataclasses.fields(kind) if field.default_factory is not dataclasses.MISSING}
    return {name: each for name, each in given.items() if each is not dataclasses.MISSING or name in made}
