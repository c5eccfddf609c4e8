"""Assigns an image to a split by the hash of its bytes and the seed, with the shares of the settings.

The split does not depend on anything else: not on rank, leaf, quota or other images. So test images come from all
ranks, and no image changes its split when others are added, removed or reordered. With a larger share of tests, the
tests of a smaller share stay tests.
"""

import hashlib

from spavl.records import Split


def split_of(blob: str, seed: int, test_share: float, validation_share: float) -> Split:
    """The split of an image whose leaf is not held out. Validation gets its share of the images that are not tests."""
    drawn = hashlib.sha256(f"{seed} {blob}".encode()).digest()
    if _between_0_and_1(drawn[:8]) < test_share:
        return "test"
    return "validation" if _between_0_and_1(drawn[8:16]) < validation_share else "train"


def _between_0_and_1(eight_bytes: bytes) -> float:
    return int.from_bytes(eight_bytes) / 256**8
