"""Words as the evaluation of VQA compares them: without articles and marks, numbers as digits.

The rules are those of its makers; VizWiz took them over, and TextVQA's server parts words a little
more first. What is answered and what people said are spelled alike.
"""

import functools
import re
from importlib.resources import files
from itertools import chain, combinations

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
_ARTICLES = frozenset({"a", "an", "the"})
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")


@functools.lru_cache(maxsize=65536)
def as_vqa(text: str) -> str:
    words = (_DIGITS.get(word, word) for word in without_marks(" ".join(text.split())).lower().split())
    return " ".join(_contractions().get(word, word) for word in words if word not in _ARTICLES)


def as_textvqa(text: str) -> str:
    return as_vqa(text.lower().replace(",", "").replace("?", "").replace("'s", " 's"))


def without_marks(text: str) -> str:
    """A mark at a word's edge vanishes, and one inside a word parts it; with a comma in a number, all vanish."""
    out, in_number = text, _COMMA_IN_NUMBER.search(text) is not None
    for mark in _MARKS:
        out = out.replace(mark, "" if in_number or f"{mark} " in text or f" {mark}" in text else " ")
    return _FULL_STOP.sub("", out)


@functools.cache
def _contractions() -> dict[str, str]:
    """Each contraction by how it is spelled without some of its apostrophes."""
    words = files("spavl.benchmarks").joinpath("contractions.txt").read_text().split()
    return {less: word for word in words for less in _with_fewer_apostrophes(word)}


def _with_fewer_apostrophes(word: str) -> set[str]:
    places = [place for place, letter in enumerate(word) if letter == "'"]
    dropped = chain.from_iterable(combinations(places, count) for count in range(1, len(places) + 1))
    return {"".join(letter for place, letter in enumerate(word) if place not in drop) for drop in dropped}
