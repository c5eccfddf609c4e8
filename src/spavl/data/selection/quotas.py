"""Assigns images to leaves in the order of their ranks, up to the quota, each image once.

An image may be listed for several leaves. Only an image that is used excludes its near duplicates.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from spavl.data.selection.duplicates import HashClusters, Places
from spavl.data.selection.relevance import Relevance


class Selection(NamedTuple):
    """The result of `choose`: images by index, and looks by number."""

    # The relevance verdict of each image used; None without a relevance check.
    used: dict[int, Relevance | None]
    irrelevant: set[int]
    # For each look that is used, or a near duplicate of one: the used image.
    taken: dict[int, int]


async def choose(
    leaves: Places,
    looks: HashClusters,
    quota: int,
    ask: Callable[[Sequence[int]], Awaitable[Sequence[Relevance]]] | None,
) -> Selection:
    """Fill each leaf's quota. `ask` is called only for images that could still be used, so that no call is wasted."""
    choice = Selection({}, set(), {})
    while picks := list(_picks(choice, leaves, looks, quota)):
        words = await ask(picks) if ask else [None] * len(picks)
        for place, word in zip(picks, words, strict=True):
            if word == "no":
                choice.irrelevant.add(place)
            else:
                choice.used[place] = word
                for look in looks.like(place):
                    choice.taken.setdefault(look, place)
    return choice


def _picks(choice: Selection, leaves: Places, looks: HashClusters, quota: int) -> Iterator[int]:
    """The images that leaves would use next, no two of them similar. The leaf with the fewest to spare picks first."""
    count = int(leaves.max(initial=-1)) + 1
    free = ~np.isin(looks.of, list(choice.taken))
    free[list(choice.irrelevant)] = False
    places = np.flatnonzero(free)
    queues = [iter(places[leaves[places] == leaf].tolist()) for leaf in range(count)]
    wanted = (quota - np.bincount(leaves[list(choice.used)], minlength=count)).tolist()
    spare = (np.bincount(leaves[places], minlength=count) - wanted).tolist()
    # listing[bounds[n]:bounds[n + 1]] are the leaves that list an image of look n.
    by_look = places[np.argsort(looks.of[places], kind="stable")]
    listing = leaves[by_look].tolist()
    bounds = np.searchsorted(looks.of[by_look], np.arange(looks.of.max(initial=-1) + 2)).tolist()
    look_of = looks.of.tolist()
    picked: set[int] = set()
    short = {leaf for leaf in range(count) if wanted[leaf] > 0}
    while short:
        leaf = min(short, key=lambda each: (spare[each], each))
        place = next((each for each in queues[leaf] if look_of[each] not in picked), None)
        if place is None:
            short.remove(leaf)
            continue
        yield place
        wanted[leaf] -= 1
        spare[leaf] += 1
        if not wanted[leaf]:
            short.remove(leaf)
        for look in looks.like(place) - picked:
            picked.add(look)
            for other in listing[bounds[look] : bounds[look + 1]]:
                spare[other] -= 1
