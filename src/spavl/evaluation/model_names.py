"""The names that models have in an evaluation: the one that it is given, or else its own."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from spavl.errors import ConfigError
from spavl.models.names import without_addresses
from spavl.models.uri import model_uri

# NAME=MODEL. The model's own name may hold such a sign too, after a slash. In a build an empty one is the checkpoint
# that the run trained.
_NAMED = re.compile(r"([^=/]+)=(.*)", re.DOTALL)


def named_model(typed: str) -> str:
    """A model to be evaluated, which may have a name before it, by its URI."""
    named = None if Path(typed).exists() else _NAMED.fullmatch(typed)
    return f"{named[1]}={model_uri(named[2])}" if named else model_uri(typed)


def models_by_name(given: Iterable[str]) -> dict[str, str]:
    """The models' own names by those that they are given."""
    found: dict[str, str] = {}
    for each in given:
        named = _NAMED.fullmatch(each)
        name, uri = (named[1].strip(), named[2]) if named else (without_addresses(each), each)
        if found.setdefault(name, uri) != uri:
            then = "give each model a name of its own, as in NAME=MODEL"
            raise ConfigError(f"two models have the name {name!r}", where=each, then=then)
    return found


def name_among(tested: Mapping[str, str], typed: str) -> str:
    """The name that a model has among those evaluated, by that or by whatever else names it; else what was typed."""
    if typed in tested:
        return typed
    try:
        uri = model_uri(typed)
    except ConfigError:
        return typed
    return next((name for name, own in tested.items() if uri in (own, name)), without_addresses(typed))
