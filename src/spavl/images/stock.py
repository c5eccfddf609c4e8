"""The pictures that may be used, over the whole run, each known by its place among them.

A million pictures are gone through as they come; of each, some sixty bytes are held.
"""

from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from spavl.images.duplicates import Looks, Places, looks_of
from spavl.records import Candidate, Photo

_BLOB = 32


class Found(NamedTuple):
    """A candidate that was fetched and passed every filter."""

    candidate: Candidate
    photo: Photo


class Stock(NamedTuple):
    """Of each picture the number of its leaf and how it looks; those of a leaf stand in the order of their ranks."""

    leaves: Places
    looks: Looks
    blobs: bytearray

    def blob(self, place: int) -> str:
        return self.blobs[_BLOB * place : _BLOB * (place + 1)].hex()

    def of_leaf(self, leaf: int) -> list[int]:
        return [int(place) for place in np.flatnonzero(self.leaves == leaf)]


def stock_of(found: Iterable[Found], leaves: Mapping[str, int], bits: int) -> Stock:
    """Pictures look the same whose hashes differ in at most so many bits; below 0, only those of equal bytes."""
    numbers, hashes, blobs = array("q"), array("Q"), bytearray()
    for candidate, photo in found:
        numbers.append(leaves[candidate.category_id])
        hashes.append(int(photo.phash, 16))
        blobs += bytes.fromhex(photo.blob)
    of = np.asarray(numbers, dtype=np.intp)
    if bits >= 0:
        return Stock(of, looks_of(hashes, bits), blobs)
    _, equal = np.unique(np.frombuffer(blobs, f"V{_BLOB}"), return_inverse=True)
    return Stock(of, Looks(equal, {}), blobs)
