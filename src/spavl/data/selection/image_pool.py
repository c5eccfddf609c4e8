"""The images that may be selected in a run, each known by its index.

Images are read as a stream. About sixty bytes of each are kept in memory, because there may be a million.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from spavl.data.selection.duplicates import HashClusters, Places, near_hashes
from spavl.records import Candidate, DownloadedImage

_BLOB = 32


class FetchedCandidate(NamedTuple):
    """A candidate that was downloaded and passed every filter."""

    candidate: Candidate
    downloaded: DownloadedImage


class ImagePool(NamedTuple):
    """The leaf number, the look and the blob of each image. Images of a leaf are in the order of their ranks."""

    leaves: Places
    looks: HashClusters
    blobs: bytearray

    def blob(self, place: int) -> str:
        return _name(self.blobs, place)

    def of_leaf(self, leaf: int) -> list[int]:
        return [int(place) for place in np.flatnonzero(self.leaves == leaf)]


def stock_of(
    found: Iterable[FetchedCandidate],
    leaves: Mapping[str, int],
    bits: int,
    alike: Callable[[str, Sequence[str]], Iterator[str]],
) -> ImagePool:
    """Build the pool. Images are near duplicates if their hashes differ in at most `bits` bits and `alike` confirms it.

    If `bits` is below 0, only images with equal bytes are duplicates.
    """
    numbers, hashes, blobs = array("q"), array("Q"), bytearray()
    for candidate, downloaded in found:
        numbers.append(leaves[candidate.category_id])
        hashes.append(int(downloaded.phash, 16))
        blobs += bytes.fromhex(downloaded.blob)
    of = np.asarray(numbers, dtype=np.intp)
    _, equal = np.unique(np.frombuffer(blobs, f"V{_BLOB}"), return_inverse=True)
    if bits < 0:
        return ImagePool(of, HashClusters(equal), blobs)

    def compare(place: int, others: Sequence[int]) -> list[int]:
        places = {_name(blobs, other): other for other in others}
        return [places[name] for name in alike(_name(blobs, place), list(places))]

    return ImagePool(of, HashClusters(equal, near_hashes(hashes, bits), compare), blobs)


def _name(blobs: bytearray, place: int) -> str:
    return blobs[_BLOB * place : _BLOB * (place + 1)].hex()
