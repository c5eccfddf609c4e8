"""The images that may be selected, over the whole run, each known by its index.

A million images are gone through as they come; of each, some sixty bytes are held.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from spavl.data.selection.duplicates import HashClusters, Places, near_hashes
from spavl.records import Candidate, DownloadedImage

_BLOB = 32


class FetchedCandidate(NamedTuple):
    """A candidate that was fetched and passed every filter."""

    candidate: Candidate
    downloaded: DownloadedImage


class ImagePool(NamedTuple):
    """Of each image the number of its leaf and how it looks; those of a leaf stand in the order of their ranks."""

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
    """Images are near duplicates whose hashes differ in at most so many bits and that are `alike` in their details.

    Below 0, only images of equal bytes are duplicates.
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
