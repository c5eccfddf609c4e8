"""What is not to be used, over the whole run: removed by people, the same picture twice, or nearly the same.

A million pictures are gone through as they come; of each that may stay, forty bytes are held.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from spavl.images.choice import Found
from spavl.images.duplicates import near_duplicates
from spavl.images.removals import is_removed
from spavl.records import Candidate

_ID = 16


class Unfit(NamedTuple):
    """Why a candidate is not to be used."""

    reason: str
    detail: str


def sift(
    found: Iterable[Found], removals: frozenset[str], bits: int, candidates: Callable[[], Iterable[Candidate]]
) -> dict[str, Unfit]:
    """The unfit by their candidate's id. Of two that are alike stays the first found."""
    unfit: dict[str, Unfit] = {}
    met: set[bytes] = set()
    ids, hashes = bytearray(), array("Q")
    for candidate, photo in found:
        blob = bytes.fromhex(photo.blob)
        if is_removed(candidate, photo, removals):
            unfit[photo.candidate_id] = Unfit("removed", candidate.source)
        elif blob in met:
            unfit[photo.candidate_id] = Unfit("duplicate", candidate.source)
        else:
            met.add(blob)
            ids += bytes.fromhex(photo.candidate_id)
            hashes.append(int(photo.phash, 16))
    like = near_duplicates(hashes, bits) if bits >= 0 else {}
    pairs = {_id_at(ids, place): _id_at(ids, kept) for place, kept in like.items()}
    return unfit | dict(_told(pairs, candidates))


def _told(pairs: dict[str, str], candidates: Callable[[], Iterable[Candidate]]) -> Iterator[tuple[str, Unfit]]:
    named = {*pairs, *pairs.values()}
    sources = {candidate.id: candidate.source for candidate in candidates() if candidate.id in named} if named else {}
    for each, kept in pairs.items():
        yield each, Unfit("near_duplicate", f"{sources[each]} is like {sources[kept]}")


def _id_at(ids: bytearray, place: int) -> str:
    return ids[_ID * place : _ID * (place + 1)].hex()
