"""Brings an image into the size that a CLIP or SigLIP model takes, as its own image processor does, pixel for pixel.

That processor needs torch, seconds to load and hundreds of megabytes; a worker that decodes needs none of these.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spavl.imaging.decode import Undecodable

# Shrunk by its shorter side, one much wider than this would grow beyond all measure.
_WIDEST = 20

# Rows, columns, and red, green and blue.
Pixels = NDArray[np.uint8]


class ClipPreprocess(NamedTuple):
    """The shorter side, or height and width, that an image is shrunk to; and what is then cut out of its middle."""

    shorter: int | None
    sides: tuple[int, int] | None
    cut: tuple[int, int] | None
    resample: int


def form_of(processor: Any) -> ClipPreprocess | None:
    """The form that a processor of transformers gives to images; None if it does more to them than that."""
    name = type(processor).__name__.removesuffix("Pil").removesuffix("Fast")
    size = {key: value for key, value in dict(processor.size).items() if value is not None}
    known = size.keys() == {"shortest_edge"} or size.keys() == {"height", "width"}
    if name not in ("CLIPImageProcessor", "SiglipImageProcessor") or not known or not processor.do_resize:
        return None
    cut = processor.crop_size if getattr(processor, "do_center_crop", False) else None
    return ClipPreprocess(
        shorter=size.get("shortest_edge"),
        sides=(size["height"], size["width"]) if "height" in size else None,
        cut=(cut["height"], cut["width"]) if cut else None,
        resample=int(processor.resample),
    )


def shaped(image: Image.Image, form: ClipPreprocess) -> Pixels:
    """The pixels of an RGB image in this form."""
    height, width = form.sides or _shrunk(image.height, image.width, form.shorter or 1)
    pixels = np.asarray(image.resize((width, height), Image.Resampling(form.resample)))
    return pixels if form.cut is None else _middle(pixels, *form.cut)


def _shrunk(height: int, width: int, shorter: int) -> tuple[int, int]:
    if max(height, width) > _WIDEST * min(height, width):
        raise Undecodable("too_wide")
    if width <= height:
        return int(shorter * height / width), shorter
    return shorter, int(shorter * width / height)


def _middle(pixels: Pixels, height: int, width: int) -> Pixels:
    """What is cut out, on black where the image is smaller."""
    missing = (max(0, height - pixels.shape[0]), max(0, width - pixels.shape[1]))
    if any(missing):
        before = [-(-each // 2) for each in missing]
        around = [(first, each - first) for first, each in zip(before, missing, strict=True)]
        pixels = np.pad(pixels, [*around, (0, 0)])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]
