"""Splits by the hash of a picture and its place in its leaf: none changes when more pictures are found for the leaf."""

import math
from collections.abc import Sequence

from spavl.records import Split

# One picture in three is never tested, so that a leaf with few has some to learn from.
MAY_BE_TESTED = 2 / 3


def split_of(blobs: Sequence[str], test: int, validation_share: float, held_out: bool) -> list[Split]:
    """The split of each of one leaf's pictures, in the order of their ranks. It hangs on those before it alone.

    Validation gets its share of every leaf, rounded up or down: which of both says the leaf's first picture.
    """
    if held_out:
        return ["held_out"] * len(blobs)
    splits: list[Split] = []
    tested = others = 0
    for blob in blobs:
        if tested < test and _luck(blob[:8]) < MAY_BE_TESTED:
            tested += 1
            splits.append("test")
        else:
            owed = _luck(blobs[0][-8:]) + validation_share * others
            others += 1
            splits.append("train" if math.floor(owed) == math.floor(owed + validation_share) else "validation")
    return splits


def _luck(eight_digits: str) -> float:
    return int(eight_digits, 16) / 16**8
