"""The names of models in an evaluation: the one that the user gives, or else the model's own."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from spavl.errors import ConfigError
from spavl.models.names import without_addresses
from spavl.models.uri import model_uri

# NAME=MODEL. The model's own name may hold an = too, after a slash. In a build an empty MODEL is the checkpoint that
# the run trained.
_NAMED = re.compile(r"([^=/]+)=(.*)", re.DOTALL)


def named_model(typed: str) -> str:
    """The URI of a model to be evaluated, with its NAME= before it if it has one."""
    named = None if Path(typed).exists() else _NAMED.fullmatch(typed)
    return f"{named[1]}={model_uri(named[2])}" if named else model_uri(typed)


def models_by_name(given: Iterable[str]) -> dict[str, str]:
    """The URIs of the models by their names in the evaluation."""
    found: dict[str, str] = {}
    for each in given:
        named = _NAMED.fullmatch(each)
        name, uri = (named[1].strip(), named[2]) if named else (without_addresses(each), each)
        if found.setdefault(name, uri) != uri:
            then = "give each model a name of its own, as in NAME=MODEL"
            raise ConfigError(f"two models have the name {name!r}", where=each, then=then)
    return found


def name_among(tested: Mapping[str, str], typed: str) -> str:
    """The name of the evaluated model with this name or URI; if there is none, what was typed without addresses."""
    if typed in tested:
        return typed
    try:
        uri = model_uri(typed)
    except ConfigError:
        return typed
    return next((name for name, own in tested.items() if uri in (own, name)), without_addresses(typed))
