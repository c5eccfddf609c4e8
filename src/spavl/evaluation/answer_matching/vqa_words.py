"""Normalizes words as VQA's evaluation does: without articles and punctuation, with numbers as digits.

The normalization is its authors'. VizWiz adopted it, and TextVQA's server splits words a little more first. Published
scripts differ in which answers they normalize.
"""

import functools
import re
from collections.abc import Sequence
from importlib.resources import files

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
_ARTICLES = frozenset({"a", "an", "the"})
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
# The published scripts pass a flag in place of the number of replacements.
_MOST_FULL_STOPS = int(re.UNICODE)


def as_people_say(said: str, people: Sequence[str]) -> float:
    """VQA accuracy: the mean over the annotators of min(1, number of others who gave this answer / 3)."""
    same = people.count(said)
    return sum(min(1.0, (same - (each == said)) / 3) for each in people) / len(people) if people else 0.0


@functools.lru_cache(maxsize=65536)
def as_vqa(text: str) -> str:
    words = (_DIGITS.get(word, word) for word in without_marks(on_one_line(text)).lower().split())
    return " ".join(_contractions().get(word, word) for word in words if word not in _ARTICLES)


def as_textvqa(text: str) -> str:
    return as_vqa(text.lower().replace(",", "").replace("?", "").replace("'s", " 's"))


def on_one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def without_marks(text: str) -> str:
    """Removes marks at a word's edge and splits words at marks inside; if a number has a comma, removes all marks."""
    out, in_number = text, _COMMA_IN_NUMBER.search(text) is not None
    for mark in _MARKS:
        out = out.replace(mark, "" if in_number or f"{mark} " in text or f" {mark}" in text else " ")
    return _FULL_STOP.sub("", out, count=_MOST_FULL_STOPS)


@functools.cache
def _contractions() -> dict[str, str]:
    """Each contraction, by its spelling without one of its apostrophes."""
    words = files("spavl.evaluation.answer_matching").joinpath("contractions.txt").read_text().split()
    found = {word[:place] + word[place + 1 :]: word for word in words for place in _apostrophes(word)}
    # This entry is the wrong way round in the authors' table.
    return found | {"somebody'd": "somebodyd"}


def _apostrophes(word: str) -> list[int]:
    return [place for place, letter in enumerate(word) if letter == "'"]
