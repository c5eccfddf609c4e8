"""`--limit N`: the same settings on a small subset of the images that the whole run will use.

A limited run uses N of the images that the selection stage kept, with their benign twins. They are spread over the
leaves and the splits. A smaller subset is part of every larger one. What is asked about an image does not depend on
the other images, so the whole run finds each call of its limited runs in the ledger.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from spavl.records import Image, content_hash

# The splits that are trained on or validated with; the other ones are test splits.
_TRAINING_SPLITS: tuple[str, ...] = ("train", "validation")


def subsample_images(images: Iterable[Image], limit: int | None) -> list[Image]:
    """At most `limit` images that are not twins, in their given order."""
    originals = [image for image in images if image.twin_of is None]
    if limit is None or limit >= len(originals):
        return originals
    leaves: dict[str, list[Image]] = {}
    for image in originals:
        leaves.setdefault(image.leaf, []).append(image)
    # Ordered by the hash of the name, so that a small subset does not have only the first leaves of the taxonomy.
    names = sorted(leaves, key=content_hash)
    # Every fourth leaf starts with an image of a test split.
    ordered = [_alternate_splits(leaves[leaf], tests_first=number % 4 == 3) for number, leaf in enumerate(names)]
    ids = [image.id for turn in zip_longest(*ordered) for image in turn if image is not None]
    chosen = set(ids[:limit])
    return [image for image in originals if image.id in chosen]


def _alternate_splits(images: Sequence[Image], tests_first: bool) -> list[Image]:
    """The images of a leaf, training and test splits in turns."""
    groups = [[image for image in images if (image.split in _TRAINING_SPLITS) == trains] for trains in (True, False)]
    if tests_first:
        groups.reverse()
    return [image for pair in zip_longest(*groups) for image in pair if image is not None]
