"""How an item is asked: as its benchmark means it, or with its image or its words changed.

blank       a uniform grey image of the same size
none        no image at all
shuffled    the image of another item of the same benchmark, never its own
noise       the image with noise added
blur        the image blurred
typos       some words of the question with two letters swapped, but not in its options
first_word  the first word of the question is that of another question
paraphrase  the question in other words; their source is a setting

The changes depend only on the seed and the items, so every model gets the same input.
"""

import functools
import io
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from PIL import Image as Pillow

from spavl.evaluation.config import DAMAGED, OF_IMAGES, Condition
from spavl.evaluation.records import Item
from spavl.imaging.blank import plain
from spavl.imaging.corruptions import blurred_png, noisy_png
from spavl.models.types import ImageData
from spavl.records import content_hash
from spavl.store.blobs import Blobs

# First words if a benchmark has no other: they begin a question or an order without saying what it is about.
_OPENINGS = ("What", "Share", "How", "Describe")
_MOST_OPENINGS = 8
# The share of the words that get a typo.
_MISSPELT = 0.25
_WORD = re.compile(r"[^\W\d_]{4,}")
_OPTION = re.compile(r"(?:[A-Z]|\d+)\. ")


class ConditionInputs(NamedTuple):
    """What conditions take from other items: another image for each image, and first words."""

    other: dict[tuple[str, str], str]
    openings: dict[str, tuple[str, ...]]
    seed: int


def inputs_of(items: Sequence[Item], seed: int) -> ConditionInputs:
    images: dict[str, set[str]] = {}
    words: dict[str, Counter[str]] = {}
    for item in items:
        if item.blob:
            images.setdefault(item.benchmark, set()).add(item.blob)
        words.setdefault(item.benchmark, Counter()).update(item.question.split(maxsplit=1)[:1])
    other: dict[tuple[str, str], str] = {}
    for benchmark, blobs in images.items():
        ring = sorted(blobs, key=lambda blob: content_hash([seed, blob]))
        if len(ring) > 1:
            other |= {(benchmark, blob): ring[place - 1] for place, blob in enumerate(ring)}
    openings = {
        benchmark: tuple(word for word, _ in sorted(own.items(), key=_by_number)[:_MOST_OPENINGS])
        for benchmark, own in words.items()
    }
    return ConditionInputs(other, openings, seed)


def asked_under(item: Item, conditions: Iterable[Condition], inputs: ConditionInputs) -> Iterator[Condition]:
    """Those of the conditions that apply to this item."""
    for condition in conditions:
        if item.conditions and condition not in item.conditions:
            continue
        if condition in (*OF_IMAGES, *DAMAGED) and not item.blob:
            continue
        if condition == "shuffled" and (item.benchmark, item.blob) not in inputs.other:
            continue
        if condition == "first_word" and len(item.question.split()) < 2:
            continue
        if condition == "typos" and not _places_of_typos(item.question):
            continue
        yield condition


def image_for(item: Item, condition: Condition, inputs: ConditionInputs, blobs: Blobs) -> ImageData | None:
    if not item.blob or condition == "none":
        return None
    if condition == "blank":
        return _blank(blobs, item.blob)
    if condition == "noise":
        return ImageData.of(noisy_png(blobs.get(item.blob), _item_seed(item, inputs)))
    if condition == "blur":
        return ImageData.of(blurred_png(blobs.get(item.blob)))
    blob = inputs.other[item.benchmark, item.blob] if condition == "shuffled" else item.blob
    return ImageData(blob, blobs.get(blob))


def question_for(item: Item, condition: Condition, inputs: ConditionInputs) -> str:
    """The question under a condition; unchanged for a paraphrase, which comes from `open_paraphrases`."""
    if condition == "first_word":
        return _begun_otherwise(item, inputs)
    return _misspelt(item, inputs) if condition == "typos" else item.question


def _begun_otherwise(item: Item, inputs: ConditionInputs) -> str:
    """The question with another first word, chosen by the seed and the item's id."""
    first, rest = item.question.split(maxsplit=1)
    others = [word for word in inputs.openings[item.benchmark] if word.casefold() != first.casefold()]
    others = others or [word for word in _OPENINGS if word.casefold() != first.casefold()]
    return f"{others[_item_seed(item, inputs) % len(others)]} {rest}"


def _misspelt(item: Item, inputs: ConditionInputs) -> str:
    """The question with two neighbouring inner letters swapped in a share of its words, at least in one."""
    rng, letters = random.Random(_item_seed(item, inputs)), list(item.question)
    words = _places_of_typos(item.question)
    for places in rng.sample(words, max(1, round(_MISSPELT * len(words)))):
        place = rng.choice(places)
        letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def _places_of_typos(question: str) -> list[list[int]]:
    """The positions in each word outside the options at which a swap with the next letter changes the word."""
    found, start = [], 0
    for line in question.splitlines(keepends=True):
        for word in _WORD.finditer(line) if not _OPTION.match(line) else ():
            inner = range(start + word.start() + 1, start + word.end() - 2)
            found.append([place for place in inner if question[place] != question[place + 1]])
        start += len(line)
    return list(filter(None, found))


def _item_seed(item: Item, inputs: ConditionInputs) -> int:
    """A number that depends on the seed and the item's id."""
    return int(content_hash([inputs.seed, item.id])[:8], 16)


def _by_number(word: tuple[str, int]) -> tuple[int, str]:
    return -word[1], word[0]


def _blank(blobs: Blobs, blob: str) -> ImageData:
    with Pillow.open(io.BytesIO(blobs.get(blob))) as opened:
        return _plain(*opened.size)


@functools.lru_cache(maxsize=64)
def _plain(width: int, height: int) -> ImageData:
    return ImageData.of(plain(width, height))
