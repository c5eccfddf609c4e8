"""Checks a taxonomy: every error with its place, and warnings.

The checks read the raw table, so that one error does not hide the others.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from spavl.store.files import folder_name
from spavl.text.setting_errors import in_own_words

_LEVELS = (("domain", "domain"), ("group", "group"), ("leaves", "leaf"))
# The paper's number of search terms.
_ENOUGH_TERMS = 6

Loc = tuple[int | str, ...]


class TaxonomyNode(NamedTuple):
    """A domain, a group or a leaf as written in the file, valid or not."""

    loc: Loc
    kind: str
    raw: Mapping[str, Any]

    @property
    def name(self) -> str | None:
        name = self.raw.get("name")
        return name if isinstance(name, str) else None


def as_faults(table: Mapping[str, Any], error: ValidationError) -> list[str]:
    """The messages for a ValidationError, each with its place in the file."""
    faults = []
    for each in error.errors():
        keys = [part for part in each["loc"] if isinstance(part, str)]
        where = place(table, each["loc"])
        if each["type"] == "missing":
            what = f"{keys[-1]} is missing"
        elif each["type"] == "extra_forbidden":
            what = f"unknown key {keys[-1]}"
        elif each["type"] == "too_short":
            what = f"{keys[-1]} is empty; there must be one at least"
        else:
            what = f"{keys[-1]}: {in_own_words(each)} (got {_short_json(each['input'])})"
        faults.append(f"{where}: {what}" if where else what)
    return faults


def twins_in(table: Mapping[str, Any]) -> list[str]:
    """Errors for names that count as the same: of two leaves anywhere, two groups of a domain, or two domains."""
    seen: dict[tuple[object, ...], TaxonomyNode] = {}
    faults = []
    for node in _nodes(table):
        if node.name is None:
            continue
        beside = () if node.kind == "leaf" else node.loc[:-1]
        key = (node.kind, beside, _alike(node.name))
        if key in seen:
            why = "" if node.name == seen[key].name else "; case and marks such as / do not count"
            faults.append(f"{place(table, node.loc)}: is named as {place(table, seen[key].loc)}{why}")
        seen.setdefault(key, node)
    return faults


def warnings_of(table: Mapping[str, Any]) -> list[str]:
    """Warnings about missing or ambiguous search terms and missing definitions, which are allowed."""
    found: dict[str, TaxonomyNode] = {}
    warnings = []
    for node in _nodes(table):
        if node.kind != "leaf":
            continue
        where = place(table, node.loc)
        given = node.raw.get("terms", ())
        terms = [term for term in given if isinstance(term, str)] if isinstance(given, Sequence) else []
        if len(set(map(_alike, terms))) < _ENOUGH_TERMS:
            warnings.append(f"{where}: {len(set(map(_alike, terms)))} different terms; {_ENOUGH_TERMS} are usual")
        for term in terms:
            other = found.setdefault(_alike(term), node)
            if other is not node:
                warnings.append(f"{where}: the term {term!r} also finds {place(table, other.loc)}")
        if not node.raw.get("definition"):
            warnings.append(f"{where}: no definition; writers and checkers of questions know it by its name alone")
    return warnings


def place(table: Mapping[str, Any], loc: Sequence[int | str]) -> str:
    """A location as text, such as `domain 2 "Household" > group 1 "Kitchen" > leaf 3`."""
    words: list[str] = []
    raw: object = table
    steps = list(loc)
    for key, kind in _LEVELS:
        if len(steps) < 2 or steps[0] != key or not isinstance(steps[1], int):
            break
        raw = _child(raw, key, steps[1])
        name = raw.get("name") if isinstance(raw, Mapping) else None
        words.append(f"{kind} {steps[1] + 1}" + (f" {_short_json(name)}" if isinstance(name, str) else ""))
        steps = steps[2:]
    return " > ".join(words)


def _nodes(raw: Mapping[str, Any], loc: Loc = (), depth: int = 0) -> Iterator[TaxonomyNode]:
    """Every node, in the order of the file."""
    if depth == len(_LEVELS):
        return
    key, kind = _LEVELS[depth]
    children = raw.get(key)
    for number, child in enumerate(children if isinstance(children, list) else ()):
        if isinstance(child, Mapping):
            here = (*loc, key, number)
            yield TaxonomyNode(here, kind, child)
            yield from _nodes(child, here, depth + 1)


def _child(raw: object, key: str, number: int) -> object:
    children = raw.get(key) if isinstance(raw, Mapping) else None
    return children[number] if isinstance(children, list) and number < len(children) else None


def _alike(name: str) -> str:
    """The key by which names are compared: two names with one key share a folder on some file systems."""
    return unicodedata.normalize("NFC", folder_name(name)).casefold()


def _short_json(value: object) -> str:
    """The value as JSON on one line, cut after 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:60]}…"
