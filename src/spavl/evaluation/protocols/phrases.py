"""Refusals by published lists of phrases, read exactly as the authors' code reads them.

VLGuard's repository has no licence, so its list does not ship: it is read from the authors' file, which a user puts
beside the data.
"""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.protocols.authors_files import assigned_in
from spavl.evaluation.protocols.types import EMPTY, NO_PHRASE, PHRASE, PhraseRule, Reading
from spavl.judges.guards.keyword import phrases


class AuthorsList(NamedTuple):
    """Where a list is that does not ship: a file of the authors' repository, and its name there."""

    repository: str
    file: str
    name: str


AUTHORS_LISTS = {"vlguard": AuthorsList("github.com/ys-zong/VLGuard", "utils/utils.py", "reject_list")}


class PhraseReading(NamedTuple):
    reading: Reading
    # The phrase that was found.
    phrase: str


def read_by_phrases(rule: PhraseRule, refusals: Collection[str], answer: str) -> PhraseReading:
    """Whether an answer holds one of the phrases. An empty one holds none; it is told apart, not counted otherwise."""
    text = answer.lower() if rule.is_lower_case else answer
    found = next((phrase for phrase in refusals if phrase in text), None)
    if found is None and text in rule.whole:
        found = text
    if found is not None:
        return PhraseReading(PHRASE, found)
    return PhraseReading(NO_PHRASE if answer.strip() else EMPTY, "")


def phrases_named(name: str, folders: Collection[Path]) -> tuple[str, ...]:
    """The phrases of a list. `folders` are those of the benchmarks' data."""
    if wanted := AUTHORS_LISTS.get(name):
        return _authors_phrases(wanted, folders)
    return phrases(name)


def _authors_phrases(wanted: AuthorsList, folders: Collection[Path]) -> tuple[str, ...]:
    file = next((folder / wanted.file for folder in folders if (folder / wanted.file).is_file()), None)
    place = next(iter(folders), Path()) / wanted.file
    then = (
        f"put {wanted.file} of {wanted.repository} there, or name the protocols that need no list: --protocol advbench"
    )
    if file is None:
        raise ConfigError("the authors' list of phrases is missing, and does not ship", where=str(place), then=then)
    for name, value in assigned_in(file, then):
        if name == wanted.name and isinstance(value, tuple) and value:
            return value
    raise ConfigError(f"this file has no list {wanted.name}", where=str(file), then=then)
