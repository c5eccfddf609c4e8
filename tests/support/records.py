"""Records for tests that care about a few of their fields only."""

import typing
from types import NoneType
from typing import Any, TypeVar

from spavl.records import Record

R = TypeVar("R", bound=Record)

_EMPTY: dict[Any, Any] = {str: "", int: 0, float: 0.0, bool: False}


def filled(kind: type[R], /, **given: Any) -> R:
    """A record with the given fields; the others are as empty as their types allow."""
    return kind(**{name: given.get(name, _empty(hint)) for name, hint in typing.get_type_hints(kind).items()})


def _empty(hint: Any) -> Any:
    arguments = typing.get_args(hint)
    if NoneType in arguments:
        return None
    if typing.get_origin(hint) is typing.Literal:
        return arguments[0]
    return _EMPTY.get(hint, ())
