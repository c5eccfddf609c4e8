"""Finds equal and near-duplicate images over a whole run.

Perceptual hashes find the candidates. For these the image details decide, when one of them is about to be used. The
time is nearly linear in the number of images, and the result does not depend on the order of work.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BITS = 64
# Hashes compared at a time, to limit memory; and hashes permuted at a time, to stay in the processor's cache.
_AT_ONCE, _IN_CACHE = 1 << 20, 1 << 14
# The measured cost of sorting one hash, in units of comparing one pair.
_SORTED = 7.0

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]
# Called with an image and other images; returns the others that are similar to it. All are indices.
Compare = Callable[[int, Sequence[int]], Sequence[int]]


class NearHashIndex(NamedTuple):
    """Images with the same hash have the same number in `of`. Hashes that are near each other are in one cluster.

    Not all hashes of a cluster are near each other. `like` compares them on demand, because the number of pairs is
    quadratic in the size of a cluster.
    """

    of: Places
    most_bits: int
    # The hash and the cluster of each number, and the numbers sorted by cluster: cluster n is starts[n]:starts[n + 1].
    hashes: Hashes
    cluster: NDArray[np.int32]
    by_cluster: NDArray[np.int32]
    starts: NDArray[np.int64]

    def like(self, hashed: int) -> list[int]:
        cluster = self.cluster[hashed]
        others = self.by_cluster[self.starts[cluster] : self.starts[cluster + 1]]
        near = others[np.bitwise_count(self.hashes[others] ^ self.hashes[hashed]) <= self.most_bits]
        return [hashed, *near[near != hashed].tolist()]


class HashClusters:
    """Equal images share one number, called their look. Different looks may be near duplicates."""

    def __init__(self, of: Places, hashes: NearHashIndex | None = None, compare: Compare | None = None) -> None:
        """`of` has the look of each image. Without `hashes` no looks are similar; without `compare` hashes decide."""
        self.of, self._hashes, self._compare = of, hashes, compare
        self._like: dict[int, set[int]] = {}
        if hashes is not None:
            self._by_hash = np.argsort(hashes.of, kind="stable")
            self._starts = np.searchsorted(hashes.of[self._by_hash], np.arange(hashes.of.max(initial=-1) + 2))

    def like(self, place: int) -> set[int]:
        """The look of an image, and the looks that are near duplicates of it."""
        own = int(self.of[place])
        if own not in self._like:
            self._like[own] = {own} | self._near(place)
        return self._like[own]

    def _near(self, place: int) -> set[int]:
        if self._hashes is None:
            return set()
        found = [
            other
            for hashed in self._hashes.like(int(self._hashes.of[place]))
            for other in self._by_hash[self._starts[hashed] : self._starts[hashed + 1]].tolist()
        ]
        # One image of each look is enough.
        of_looks = {int(self.of[other]): other for other in reversed(found) if self.of[other] != self.of[place]}
        if self._compare is None:
            return set(of_looks)
        # Each pair is compared once.
        own, known = int(self.of[place]), of_looks.keys() & self._like.keys()
        left = sorted(other for look, other in of_looks.items() if look not in known)
        compared = self._compare(place, left) if left else ()
        return {look for look in known if own in self._like[look]} | {int(self.of[other]) for other in compared}


def near_hashes(hashes: Sequence[int], most_bits: int) -> NearHashIndex:
    """Index which hashes differ in at most `most_bits` bits."""
    # Many images may share one hash, such as blank ones; each distinct hash is compared once.
    different, of = np.unique(np.asarray(hashes, dtype=np.uint64), return_inverse=True)
    # For each hash, the lowest number in its cluster that is known so far.
    lowest = np.arange(len(different), dtype=np.int32)
    for pairs in _near_pairs(different, most_bits):
        _join(lowest, pairs)
    found, cluster = np.unique(lowest, return_inverse=True)
    by_cluster = np.argsort(cluster, kind="stable").astype(np.int32)
    starts = np.searchsorted(cluster[by_cluster], np.arange(len(found) + 1)).astype(np.int64)
    return NearHashIndex(of, most_bits, different, cluster.astype(np.int32), by_cluster, starts)


def _join(lowest: NDArray[np.int32], pairs: NDArray[np.int32]) -> None:
    """Merge the clusters of each pair, in place: all hashes of a cluster get the same lowest number (union-find)."""
    while len(pairs := (ends := lowest[pairs])[ends[:, 0] != ends[:, 1]]):
        np.minimum.at(lowest, pairs.max(1), pairs.min(1))
        while not np.array_equal(shorter := lowest[lowest], lowest):
            lowest[:] = shorter


def _near_pairs(hashes: Hashes, most_bits: int) -> Iterator[NDArray[np.int32]]:
    """The pairs of indices whose hashes differ in at most `most_bits` bits; each pair once. `hashes` must be sorted.

    If hashes are cut into `most_bits` + k blocks, two such hashes are equal in at least k blocks. So for each choice
    of k blocks, the hashes are sorted by these blocks, and compared if these are equal.
    """
    if len(hashes) < 2:
        return
    widths = _widths(len(hashes), most_bits)
    lows = [sum(widths[:block]) for block in range(len(widths))]
    for chosen in itertools.combinations(range(len(widths)), len(widths) - most_bits):
        others = [block for block in range(len(widths)) if block not in chosen]
        order = [(lows[block], widths[block]) for block in (*others, *chosen)]
        moved = _permute_blocks(hashes, order)
        moved.sort()
        low = sum(widths[block] for block in others)
        # A pair is reported only for the first choice of blocks in which it is equal, and so only once.
        differing = [
            _mask(sum(widths[each] for each in others[:place]), widths[block])
            for place, block in enumerate(others)
            if block < chosen[-1]
        ]
        for one, two in _near_neighbours(moved, low, most_bits, differing):
            yield np.stack([np.searchsorted(hashes, _moved_back(each, order)) for each in (one, two)], 1).astype(
                np.int32
            )


def _near_neighbours(
    hashes: Hashes, low: int, most_bits: int, differing: Sequence[np.uint64]
) -> Iterator[tuple[Hashes, Hashes]]:
    """Pairs of sorted hashes equal above their `low` lowest bits, at most `most_bits` apart, different in each mask."""
    places = np.arange(len(hashes) - 1)
    for apart in itertools.count(1):
        places = places[: np.searchsorted(places, len(hashes) - apart)]
        if not len(places):
            return
        goes_on = [places[:0]]
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            differ = hashes[some] ^ hashes[some + apart]
            within = differ < np.uint64(1 << low)
            some, differ = some[within], differ[within]
            goes_on.append(some)
            near = np.bitwise_count(differ) <= most_bits
            some, differ = some[near], differ[near]
            for mask in differing:
                new = (differ & mask) != 0
                some, differ = some[new], differ[new]
            if len(some):
                yield hashes[some], hashes[some + apart]
        places = np.concatenate(goes_on)


def _permute_blocks(hashes: Hashes, order: Sequence[tuple[int, int]]) -> Hashes:
    """Permute blocks of bits. `order` has the lowest bit and the width of each block, from the new lowest block up."""
    moved = np.empty_like(hashes)
    # In pieces that stay in the processor's cache from one block to the next.
    for start in range(0, len(hashes), _IN_CACHE):
        some, place = hashes[start : start + _IN_CACHE], 0
        found = np.zeros_like(some)
        for low, width in order:
            found |= ((some >> np.uint64(low)) & _mask(0, width)) << np.uint64(place)
            place += width
        moved[start : start + _IN_CACHE] = found
    return moved


def _moved_back(hashes: Hashes, order: Sequence[tuple[int, int]]) -> Hashes:
    places = itertools.accumulate((width for _, width in order), initial=0)
    back = sorted((low, place, width) for (low, width), place in zip(order, places, strict=False))
    return _permute_blocks(hashes, [(place, width) for _, place, width in back])


def _mask(low: int, width: int) -> np.uint64:
    return np.uint64(((1 << width) - 1) << low)


def _widths(count: int, most_bits: int) -> list[int]:
    """The widths of the blocks that minimize the work: more blocks mean more choices, but fewer comparisons in each."""

    def work(blocks: int) -> float:
        chosen = blocks - most_bits
        return math.comb(blocks, chosen) * (_SORTED + count / 2 / 2 ** (_BITS * chosen / blocks))

    blocks = min(range(most_bits + 1, most_bits + 5), key=work)
    return [_BITS * (block + 1) // blocks - _BITS * block // blocks for block in range(blocks)]
