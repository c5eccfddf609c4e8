"""Near-duplicates across a whole run, by perceptual hash: fast for a million, whatever the order of work."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_BITS, _BANDS = 64, 4
_BAND_BITS = _BITS // _BANDS
# Pairs compared at a time: what this needs of memory stays small however many pictures share a band.
_PAIRS = 1 << 20

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]


def near_duplicates(hashes: Sequence[int], most_bits: int) -> dict[int, int]:
    """For each picture too like an earlier one that stays: its place, and the place of that one.

    Places are those in `hashes`, whose order decides who stays: the first.
    """
    numbers = np.asarray(hashes, dtype=np.uint64)
    # Many share one hash, such as blank pictures; they are compared once, as the first of them.
    firsts, group = _groups(numbers)
    earlier: dict[int, list[int]] = {}
    for one, two in _near_pairs(numbers[firsts], most_bits):
        low, high = (one, two) if firsts[one] < firsts[two] else (two, one)
        earlier.setdefault(int(firsts[high]), []).append(int(firsts[low]))
    like: dict[int, int] = {}
    for place in range(len(numbers)):
        first = int(firsts[group[place]])
        if first != place:
            like[place] = like.get(first, first)
        elif kept := [each for each in earlier.get(place, ()) if each not in like]:
            like[place] = min(kept)
    return like


def _groups(numbers: Hashes) -> tuple[Places, Places]:
    _, firsts, group = np.unique(numbers, return_index=True, return_inverse=True)
    return firsts, group


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
