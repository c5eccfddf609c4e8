"""Looks for leaks: a picture or a picture's twin that stands in more than one split."""

from collections.abc import Iterable

from spavl.errors import GateError
from spavl.records import Image


def audit_splits(images: Iterable[Image]) -> None:
    """Fail on a leak. A benign twin shares its original's scene, so it must share its split too."""
    images = list(images)
    split_of_blob: dict[str, str] = {}
    split_of_image = {image.id: image.split for image in images}
    for image in images:
        if split_of_blob.setdefault(image.blob, image.split) != image.split:
            _leak(f"picture {image.blob[:12]} is in {image.split} and in {split_of_blob[image.blob]}")
        if image.twin_of and split_of_image.get(image.twin_of, image.split) != image.split:
            _leak(f"picture {image.id[:12]} is in {image.split}, and its original in {split_of_image[image.twin_of]}")


def _leak(what: str) -> None:
    then = "remove one of the two from the source of pictures and build again"
    raise GateError(f"a leak between splits: {what}", where="dataset", then=then)
