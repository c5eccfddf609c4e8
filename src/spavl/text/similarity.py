"""Similarity of two short texts by the words they share."""

import re
import unicodedata
from collections.abc import Collection
from functools import cache
from itertools import chain

# Scripts that are written without spaces, where two characters stand for about one word.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+", re.UNICODE)
_PAIR = 2


# Planes of Unicode that hold vowel signs and accents: a look at all of them would take a third of a second.
_WITH_SIGNS = (range(0x20000), range(0xE0000, 0xE1000))


@cache
def within_words() -> str:
    """Characters inside words that are not letters to a regular expression: vowel signs, accents and joiners."""
    return "\u200c\u200d" + "".join(
        sign for sign in map(chr, chain(*_WITH_SIGNS)) if unicodedata.category(sign).startswith("M")
    )


@cache
def _word() -> re.Pattern[str]:
    return re.compile(rf"\w+(?:[{within_words()}]+\w*)*")


def words_of(text: str) -> list[str]:
    """The words of a text without case, punctuation and width; for scripts without spaces, pairs of characters."""
    found: list[str] = []
    for word in _word().findall(unicodedata.normalize("NFKC", text).casefold()):
        spaced = _UNSPACED.sub(" ", word).split()
        found += spaced
        for run in _UNSPACED.findall(word):
            found += [run[start : start + _PAIR] for start in range(max(1, len(run) - 1))]
    return found


def count_words(text: str) -> int:
    """The approximate number of words in a text."""
    unspaced = sum(len(run) for run in _UNSPACED.findall(text))
    return len(_word().findall(_UNSPACED.sub(" ", text))) + (unspaced + 1) // _PAIR


def similarity(one: str, two: str) -> float:
    """The share of words that both have among those that either has."""
    first, second = set(words_of(one)), set(words_of(two))
    either = first | second
    return len(first & second) / len(either) if either else 1.0


def repeats(text: str, earlier: Collection[str], most_alike: float) -> bool:
    return any(similarity(text, other) >= most_alike for other in earlier)


def share_taken_from(text: str, source: str, run: int = 5) -> float:
    """The share of a text's runs of `run` words that occur in the source word for word."""
    said, known = _runs(words_of(text), run), set(_runs(words_of(source), run))
    return sum(each in known for each in said) / len(said) if said else 0.0


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
