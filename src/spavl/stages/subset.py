"""`--limit N`: a small trial of the same settings, on a few of the images that the whole run will use.

A trial goes on with N of the images that the images stage kept, their benign twins with them.
They are spread over the leaves and the splits, and those of a smaller trial are among those of a
larger one. What is asked about an image does not hang on the others, so the whole run finds
every call of its trials in the ledger.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from spavl.records import Image, content_hash

# In the order in which a leaf gives its images; every fourth leaf begins with one of the tests.
_LEARNT: tuple[str, ...] = ("train", "validation")


def few(images: Iterable[Image], limit: int | None) -> list[Image]:
    """At most `limit` images that are no twins, in their own order."""
    originals = [image for image in images if image.twin_of is None]
    if limit is None or limit >= len(originals):
        return originals
    leaves: dict[str, list[Image]] = {}
    for image in originals:
        leaves.setdefault(image.leaf, []).append(image)
    # By the hash of their names, so that few leaves are not always the first ones of the taxonomy.
    named = sorted(leaves, key=content_hash)
    turns = [_in_turns(leaves[leaf], tests_first=number % 4 == 3) for number, leaf in enumerate(named)]
    drawn = [image.id for turn in zip_longest(*turns) for image in turn if image is not None]
    chosen = set(drawn[:limit])
    return [image for image in originals if image.id in chosen]


def _in_turns(images: Sequence[Image], tests_first: bool) -> list[Image]:
    """A leaf's images, those to learn from and those for tests in turns."""
    groups = [[image for image in images if (image.split in _LEARNT) == learnt] for learnt in (True, False)]
    if tests_first:
        groups.reverse()
    return [image for pair in zip_longest(*groups) for image in pair if image is not None]
