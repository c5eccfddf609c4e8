"""Which of a leaf's pictures are used: in the order of their ranks, until the leaf has enough."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from spavl.images.relevance import Relevance
from spavl.records import Candidate, Photo, Reject
from spavl.stage import reject


class Found(NamedTuple):
    """A candidate that was fetched and passed every filter."""

    candidate: Candidate
    photo: Photo


class Chosen(NamedTuple):
    """A picture that is used; `relevance` is None where nobody was asked."""

    found: Found
    relevance: Relevance | None


async def choose(
    found: Sequence[Found], quota: int, ask: Callable[[Found], Awaitable[Relevance]] | None
) -> tuple[list[Chosen], list[Reject]]:
    """Fill the quota. Only as many pictures are asked about as could still be used, so no call is wasted."""
    chosen: list[Chosen] = []
    rejects: list[Reject] = []
    left = list(found)
    while left and len(chosen) < quota:
        wanted = quota - len(chosen)
        next_ones, left = left[:wanted], left[wanted:]
        words = await asyncio.gather(*map(ask, next_ones)) if ask else [None] * len(next_ones)
        for each, word in zip(next_ones, words, strict=True):
            if word == "no":
                rejects.append(reject(each.candidate, "irrelevant", each.candidate.source))
            else:
                chosen.append(Chosen(each, word))
    rejects += [reject(each.candidate, "over_quota", each.candidate.source) for each in left]
    return chosen, rejects
