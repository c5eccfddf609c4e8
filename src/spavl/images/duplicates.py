"""How pictures look, over a whole run, by perceptual hash: fast for a million, whatever the order of work."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BITS, _BANDS = 64, 4
_BAND_BITS = _BITS // _BANDS
# Pairs compared at a time: what this needs of memory stays small however many pictures share a band.
_PAIRS = 1 << 20

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]


class Looks(NamedTuple):
    """Pictures that look the same have the same number; other numbers may look nearly the same."""

    of: Places
    near: dict[int, set[int]]

    def like(self, place: int) -> set[int]:
        """The look of a picture, and those that are too like it."""
        own = int(self.of[place])
        return {own} | self.near.get(own, set())


def looks_of(hashes: Sequence[int], most_bits: int) -> Looks:
    """How pictures look, by their hashes, of which those are alike that differ in at most so many bits."""
    # Many share one hash, such as blank pictures; they are compared once.
    different, of = np.unique(np.asarray(hashes, dtype=np.uint64), return_inverse=True)
    near: dict[int, set[int]] = {}
    for one, two in _near_pairs(different, most_bits):
        near.setdefault(one, set()).add(two)
        near.setdefault(two, set()).add(one)
    return Looks(of, near)


def _near_pairs(hashes: Hashes, most_bits: int) -> Iterator[tuple[int, int]]:
    """Pairs of places whose hashes differ in at most so many bits; a pair may come more than once.

    Hashes that differ in at most n bits differ in at most n // 4 bits in one of their four bands.
    """
    flips = [mask for mask in range(1 << _BAND_BITS) if mask.bit_count() <= most_bits // _BANDS]
    for band in range(_BANDS):
        values = ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)).astype(np.intp)
        order = np.argsort(values, kind="stable")
        # Sorted by their band, hashes to compare lie side by side, which is most of the speed.
        values, ordered = values[order], hashes[order]
        starts = np.searchsorted(values, np.arange((1 << _BAND_BITS) + 1))
        for flip in flips:
            wanted = values ^ flip
            # Each pair from one of its sides: within a band's value from the former, else from the lower value.
            begin = starts[wanted] if flip else np.arange(1, len(values) + 1)
            count = np.where(wanted >= values, starts[wanted + 1] - begin, 0)
            for one, two in _expanded(begin, count):
                near = np.bitwise_count(ordered[one] ^ ordered[two]) <= most_bits
                yield from zip(order[one[near]].tolist(), order[two[near]].tolist(), strict=True)


def _expanded(begin: Places, count: Places) -> Iterator[tuple[Places, Places]]:
    """Each place with the `count` places from its `begin` on, some millions at a time."""
    totals = np.cumsum(count)
    start = 0
    while start < len(count):
        before = totals[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(totals, before + _PAIRS, "right")))
        counts = count[start:stop]
        one = np.repeat(np.arange(start, stop), counts)
        # A place's first partner stands where all pairs before it end.
        yield one, np.arange(len(one)) + np.repeat(begin[start:stop] - (totals[start:stop] - counts - before), counts)
        start = stop
