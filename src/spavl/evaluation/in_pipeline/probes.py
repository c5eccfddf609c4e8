"""What is asked of a tested model: held-out images, held-out leaves, and the same questions about a blank image."""

from typing import NamedTuple

from spavl.imaging.blank import plain
from spavl.models.types import ImageData
from spavl.records import Image

HELD_OUT_IMAGES, HELD_OUT_LEAVES, BLANK_IMAGE = "held_out_images", "held_out_leaves", "blank_image"
PROBES = (HELD_OUT_IMAGES, HELD_OUT_LEAVES, BLANK_IMAGE)


class QuestionSet(NamedTuple):
    name: str
    blank: bool


def probes_for(image: Image) -> tuple[QuestionSet, ...]:
    if image.split == "held_out":
        return (QuestionSet(HELD_OUT_LEAVES, blank=False),)
    if image.split == "test":
        return (QuestionSet(HELD_OUT_IMAGES, blank=False), QuestionSet(BLANK_IMAGE, blank=True))
    return ()


def blank(image: Image) -> ImageData:
    """An even grey of the image's size: what a model answers to it, it has not seen."""
    return ImageData.of(plain(image.width, image.height))
