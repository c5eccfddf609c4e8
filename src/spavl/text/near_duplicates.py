"""Finds near duplicates: texts that share words, images with near perceptual hashes.

Both searches are exact, and both are fast because they skip candidates that cannot match.
"""

import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import cache
from typing import Generic, TypeVar

from spavl.text.similarity import within_words

K = TypeVar("K", bound=Hashable)

# In scripts without spaces each character is a word; other words are runs of letters.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_BITS = 64


def words_in_order(text: str) -> str:
    """The normalized words of a text; equal for texts that differ only in case, punctuation and spaces."""
    return " ".join(_words(text))


def features(text: str) -> frozenset[str]:
    """The words of a text and its pairs of adjacent words, so that order counts too."""
    words = _words(text)
    return frozenset(words).union(f"{first} {second}" for first, second in itertools.pairwise(words))


def _words(text: str) -> list[str]:
    return _word().findall(unicodedata.normalize("NFKC", text).casefold())


@cache
def _word() -> re.Pattern[str]:
    letters = f"[^\\W{_UNSPACED}]"
    return re.compile(f"[{_UNSPACED}]|{letters}+(?:[{within_words()}]+{letters}*)*")


class NearTextIndex(Generic[K]):
    """An index of texts that finds those whose features have a Jaccard similarity above a threshold with a given text.

    Two sets with this similarity must share one of their rarest members, so only those are looked up (prefix
    filtering). The positions of the first shared member bound how many more they can share, so texts made from one
    template are not compared one by one either (positional filtering). With a threshold of 1, nothing is found.
    """

    def __init__(self, texts: Sequence[tuple[K, str]], above: float) -> None:
        self._above = above
        self._known = [(key, features(text)) for key, text in texts] if above < 1 else []
        self._counts = Counter(feature for _, own in self._known for feature in own)
        # The texts by rare feature, then by (number of features, number of rarer features).
        self._rare: dict[str, dict[tuple[int, int], dict[int, None]]] = {}
        for place, (_, own) in enumerate(self._known):
            for rarer, feature in self._rare_of(own):
                self._rare.setdefault(feature, {}).setdefault((len(own), rarer), {})[place] = None

    def near(self, text: str) -> Iterator[tuple[K, float]]:
        """The key of each similar text, and its Jaccard similarity."""
        return ((self._known[place][0], alike) for place, alike in self._places(text))

    def take(self, text: str) -> Iterator[K]:
        """The key of each similar text, which is then removed: over many queries each known text is found once."""
        for place, _ in list(self._places(text)):
            key, own = self._known[place]
            for rarer, feature in self._rare_of(own):
                del self._rare[feature][len(own), rarer][place]
            yield key

    def _places(self, text: str) -> Iterator[tuple[int, float]]:
        own = features(text)
        shared = own & self._counts.keys()
        unknown = len(own) - len(shared)
        seen: set[int] = set()
        for rarer, feature in enumerate(self._rarest(shared, _spare(len(own), self._above) - unknown + 1), unknown):
            for (size, its_rarer), places in self._rare.get(feature, {}).items():
                # If this is the rarest feature that they share, they can share only it and the more frequent ones.
                most = min(len(own) - rarer, size - its_rarer)
                if most / (len(own) + size - most) <= self._above:
                    continue
                for place in places:
                    if place in seen:
                        continue
                    seen.add(place)
                    both = len(own & self._known[place][1])
                    if (alike := both / (len(own) + size - both)) > self._above:
                        yield place, alike

    def _rare_of(self, own: frozenset[str]) -> Iterator[tuple[int, str]]:
        """The features under which a text is indexed, each with the number of rarer ones."""
        return enumerate(self._rarest(own, _spare(len(own), self._above) + 1))

    def _rarest(self, own: frozenset[str], number: int) -> list[str]:
        return sorted(own, key=lambda feature: (self._counts[feature], feature))[: max(0, number)]


def _spare(size: int, above: float) -> int:
    """How many of a set's features may be missing from a set that is still similar enough."""
    return size - math.ceil(above * size)


class NearImageIndex(Generic[K]):
    """An index of 64-bit perceptual hashes that finds those that differ from a given one in fewer bits than `nearer`.

    Of `nearer` bands of bits at least one must then be equal, so only hashes that share a band are compared. Equal
    hashes are compared once.
    """

    def __init__(self, hashes: Iterable[tuple[K, int]], nearer: int) -> None:
        self._nearer = nearer
        edges = [_BITS * band // nearer for band in range(nearer + 1)] if nearer > 0 else []
        self._bands = [(low, (1 << (high - low)) - 1) for low, high in itertools.pairwise(edges)]
        self._keys: dict[int, list[K]] = {}
        for key, own in hashes:
            self._keys.setdefault(own, []).append(key)
        self._alike: dict[tuple[int, int], list[int]] = {}
        for own in self._keys:
            for band in self._bands_of(own):
                self._alike.setdefault(band, []).append(own)

    def near(self, own: int) -> Iterator[tuple[K, int]]:
        """The key of each near hash, and the number of bits that differ."""
        seen: set[int] = set()
        for band in self._bands_of(own):
            for its in self._alike.get(band, ()):
                if its not in seen and (apart := (own ^ its).bit_count()) < self._nearer:
                    seen.add(its)
                    for key in self._keys[its]:
                        yield key, apart

    def _bands_of(self, own: int) -> Iterator[tuple[int, int]]:
        return ((low, own >> low & mask) for low, mask in self._bands)
