"""Refusals by published lists of phrases, read exactly as the authors' code reads them."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from spavl.evaluation.protocols.types import EMPTY, NO_PHRASE, PHRASE, PhraseRule, Reading


class PhraseReading(NamedTuple):
    reading: Reading
    # The phrase that was found.
    phrase: str


def read_by_phrases(rule: PhraseRule, answer: str) -> PhraseReading:
    """Whether an answer holds one of the phrases. An empty one holds none; it is told apart, not counted otherwise."""
    text = answer.lower() if rule.is_lower_case else answer
    found = next((phrase for phrase in phrases(rule.phrases) if phrase in text), None)
    if found is None and text in rule.whole:
        found = text
    if found is not None:
        return PhraseReading(PHRASE, found)
    return PhraseReading(NO_PHRASE if answer.strip() else EMPTY, "")


@cache
def phrases(name: str) -> tuple[str, ...]:
    text = files("spavl.evaluation.protocols").joinpath(f"phrases/{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
