"""Finds what is nearly the same: texts that share their words, pictures that share their perceptual hash.

Both searches are exact, and both are fast because what cannot match is never compared.
"""

import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import cache
from typing import Generic, NamedTuple, TypeVar

from spavl.text.alike import within_words

K = TypeVar("K", bound=Hashable)

# Signs of scripts that write without spaces stand for themselves; other words are runs of letters.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_BITS = 64


class Near(NamedTuple, Generic[K]):
    """Two things and how alike they are: a share of words for texts, a number of differing bits for pictures."""

    one: K
    other: K
    measure: float


def features(text: str) -> frozenset[str]:
    """The words of a text and its pairs of neighbours, so that order counts too."""
    words = _word().findall(unicodedata.normalize("NFKC", text).casefold())
    return frozenset(words).union(f"{first} {second}" for first, second in itertools.pairwise(words))


@cache
def _word() -> re.Pattern[str]:
    letters = f"[^\\W{_UNSPACED}]"
    return re.compile(f"[{_UNSPACED}]|{letters}+(?:[{within_words()}]+{letters}*)*")


def near_texts(few: Sequence[tuple[K, str]], many: Iterable[tuple[K, str]], above: float) -> Iterator[Near[K]]:
    """Pairs of one of `few` and one of `many` whose features' Jaccard similarity is above a threshold.

    Two sets that share so much must share one of their rarest members, so only those are
    looked up (prefix filtering). At a threshold of 1 nothing is above it.
    """
    if above >= 1:
        return
    known = [(key, features(text)) for key, text in few]
    counts = Counter(feature for _, own in known for feature in own)
    rare: dict[str, list[int]] = {}
    for place, (_, own) in enumerate(known):
        for feature in _rarest(own, counts, _spare(len(own), above) + 1):
            rare.setdefault(feature, []).append(place)
    for key, text in many:
        own = features(text)
        shared = own & counts.keys()
        spare = _spare(len(own), above) - (len(own) - len(shared))
        if spare < 0:
            continue
        for place in {place for feature in _rarest(shared, counts, spare + 1) for place in rare.get(feature, ())}:
            other, its = known[place]
            both = len(own & its)
            if (alike := both / (len(own) + len(its) - both)) > above:
                yield Near(other, key, alike)


def _spare(size: int, above: float) -> int:
    """How many of a set's features may be missing in a set that is still alike enough."""
    return size - math.ceil(above * size)


def _rarest(own: frozenset[str], counts: Counter[str], number: int) -> list[str]:
    return sorted(own, key=lambda feature: (counts[feature], feature))[:number]


def near_pictures(few: Sequence[tuple[K, int]], many: Iterable[tuple[K, int]], nearer: int) -> Iterator[Near[K]]:
    """Pairs of one of `few` and one of `many` whose 64-bit perceptual hashes differ in fewer bits than `nearer`.

    Of `nearer` bands of bits at least one must then be equal, so only those that share a band are compared.
    """
    if nearer < 1:
        return
    edges = [_BITS * band // nearer for band in range(nearer + 1)]
    bands = [(low, (1 << (high - low)) - 1) for low, high in itertools.pairwise(edges)]
    alike: dict[tuple[int, int], list[int]] = {}
    for place, (_, own) in enumerate(few):
        for low, mask in bands:
            alike.setdefault((low, own >> low & mask), []).append(place)
    for key, own in many:
        for place in {place for low, mask in bands for place in alike.get((low, own >> low & mask), ())}:
            other, its = few[place]
            if (apart := (own ^ its).bit_count()) < nearer:
                yield Near(other, key, apart)
