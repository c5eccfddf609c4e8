"""Maps class strings of a data set to leaves of a taxonomy. Broken strings are repaired; the original is kept, too."""

import dataclasses
import re

from spavl.data.taxonomy.tree import categories, read_tree
from spavl.records import Category

UNKNOWN = "unknown"
# The published strings lack a space.
_REPAIRED = {
    "Representation & ToxicityHarms": "Representation & Toxicity Harms",
    "Human Autonomy & IntegrityHarms": "Human Autonomy & Integrity Harms",
}


class ClassMapping:
    """Maps each triple of class strings to a leaf: the paper's leaf of this name, or else a new one."""

    def __init__(self) -> None:
        self._shipped = {
            _spelling(triple): category
            for category in categories(read_tree("spa-vl"))
            for triple in (category.published, (category.domain, category.group, category.leaf))
        }
        self._found: dict[tuple[str, ...], Category] = {}

    def leaf(self, raw: tuple[str, ...]) -> Category:
        spelling = _spelling(raw)
        if spelling not in self._found:
            shipped = self._shipped.get(spelling)
            self._found[spelling] = self._new(raw) if shipped is None else dataclasses.replace(shipped, published=raw)
        return self._found[spelling]

    def all(self) -> list[Category]:
        return sorted(self._found.values(), key=lambda category: category.position)

    def _new(self, raw: tuple[str, ...]) -> Category:
        domain, group, leaf = (_REPAIRED.get(part, part) or UNKNOWN for part in raw)
        taken = {category.leaf for category in (*self._shipped.values(), *self._found.values())}
        return Category(
            position=len(self._shipped) + len(self._found),
            leaf=f"{leaf} ({group})" if leaf in taken else leaf,
            group=group,
            domain=domain,
            published=raw,
            naming="confirmed",
            definition="",
            terms=(),
        )


def _spelling(triple: tuple[str, ...]) -> tuple[str, ...]:
    """The key by which class strings are compared: letters and digits only, without case."""
    return tuple(re.sub(r"[\W_]+", "", part).casefold() for part in triple)
