"""Assigns an image to a split by the hash of its bytes and the seed, with the shares of the settings.

Nothing else has a part in it: not its rank, its leaf, the quota of its leaf or another image. So tests lie over all
ranks, and no image changes its split when others come, go or change places. Of two shares of tests, the tests of the
smaller are tests of the larger too.
"""

import hashlib

from spavl.records import Split


def split_of(blob: str, seed: int, test_share: float, validation_share: float) -> Split:
    """The split of an image that no leaf holds out, by the hash of its bytes. Validation gets its share of the rest."""
    drawn = hashlib.sha256(f"{seed} {blob}".encode()).digest()
    if _between_0_and_1(drawn[:8]) < test_share:
        return "test"
    return "validation" if _between_0_and_1(drawn[8:16]) < validation_share else "train"


def _between_0_and_1(eight_bytes: bytes) -> float:
    return int.from_bytes(eight_bytes) / 256**8
