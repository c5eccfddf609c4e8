"""The names that models have in an evaluation: the one that it is given, or else its own."""

import re
from collections.abc import Iterable

from spavl.errors import ConfigError
from spavl.models.names import without_addresses

# NAME=MODEL. The model's own name may hold such a sign too, after its kind. In a build an empty one is the checkpoint
# that the run trained.
_NAMED = re.compile(r"([^=/]+)=(\w[\w-]*/.+|)")


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
