"""What is wrong with the value of a setting, in the words of spavl and not in those of pydantic."""

from collections.abc import Mapping
from typing import Any

_KINDS = {
    "bool": "must be true or false",
    "dict": "must be a table",
    "finite_number": "must be a finite number",
    "float": "must be a number",
    "int": "must be a whole number",
    "list": "must be a list",
    "mapping": "must be a table",
    "model": "must be a table of settings",
    "string": "must be a text",
    "tuple": "must be a list",
}
_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def in_own_words(error: Mapping[str, Any]) -> str:
    """The message of one of pydantic's errors, such as `must be at most 2`."""
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind in _LIMITS:
        if error["input"] != error["input"]:
            return "must be a number"
        name, word = _LIMITS[kind]
        limit = context[name]
        return f"must be {word} {limit:g}" if isinstance(limit, float) else f"must be {word} {limit}"
    if kind in ("too_short", "too_long"):
        is_short = kind == "too_short"
        bound = context["min_length" if is_short else "max_length"]
        values = "value" if bound == 1 else "values"
        return f"must have {'at least' if is_short else 'at most'} {bound} {values}, not {context['actual_length']}"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "missing":
        return "is missing"
    whole, start = _KINDS.get(kind), _KINDS.get(kind.partition("_")[0])
    return whole or start or str(error["msg"]).removeprefix("Value error, ").lower()
