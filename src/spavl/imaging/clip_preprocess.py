"""Resizes and crops an image for a CLIP or SigLIP model, with the same pixels as the model's image processor.

That processor needs torch, takes seconds to load and uses hundreds of megabytes; this module avoids that in workers.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spavl.imaging.decode import Undecodable

# The largest ratio of the sides: when the shorter side is fixed, the pixels of a very long image would be too many.
_WIDEST = 20

# Rows x columns x RGB.
Pixels = NDArray[np.uint8]


class ClipPreprocess(NamedTuple):
    """The shorter side, or the height and width, to resize to; and the height and width of the center crop, if any."""

    shorter: int | None
    sides: tuple[int, int] | None
    cut: tuple[int, int] | None
    resample: int


def form_of(processor: Any) -> ClipPreprocess | None:
    """The resizing and cropping of a transformers image processor; None if the processor does something else."""
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


def resize_and_crop(image: Image.Image, form: ClipPreprocess) -> Pixels:
    """The pixels of an RGB image, resized and cropped as `form` says."""
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
    """The center crop, padded with black if the image is smaller."""
    missing = (max(0, height - pixels.shape[0]), max(0, width - pixels.shape[1]))
    if any(missing):
        before = [-(-each // 2) for each in missing]
        around = [(first, each - first) for first, each in zip(before, missing, strict=True)]
        pixels = np.pad(pixels, [*around, (0, 0)])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]
