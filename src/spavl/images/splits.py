"""Splits by the hash of a picture, so that one picture is never on both sides, in this run or another."""

from collections.abc import Sequence

from spavl.records import Split


def split_of(blobs: Sequence[str], test: int, validation_share: float, held_out: bool) -> list[Split]:
    """The split of each of one leaf's pictures: the lowest hashes are the test, then a share is validation."""
    if held_out:
        return ["held_out"] * len(blobs)
    tested = set(sorted(blobs)[:test])
    return ["test" if blob in tested else _train_or_validation(blob, validation_share) for blob in blobs]


def _train_or_validation(blob: str, validation_share: float) -> Split:
    # The last digits: the first ones have already decided over the test.
    place = int(blob[-8:], 16) / 16**8
    return "validation" if place < validation_share else "train"
