"""Finds and reads lines of text in an image, once for all filters that need them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from spavl.errors import MissingExtra, how_to_install

# The time to find text grows with the pixels. The network scales the shorter side to this length in any case.
_SHORTER_SIDE, _LONGER_SIDE = 736, 2208
# So of an image that is longer than this many times its shorter side it would make a giant; white is put beside it.
_MOST_OBLONG = 8
# The detection network takes fur, leaves and olives for text; the recognition network does not.
_LEAST_SURE, _LEAST_CHARACTERS = 0.6, 2


class TextBoxes(NamedTuple):
    """Where text may be: boxes of four corners in a shrunk image, the largest first."""

    image: Any
    boxes: Sequence[Any]
    # The side of the shrunk image over that of the whole.
    scale: float


class TextReader:
    """`where` is the setting that needs it."""

    def __init__(self, where: str) -> None:
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ModuleNotFoundError:
            then = how_to_install("words")
            raise MissingExtra("this filter needs rapidocr-onnxruntime", where=where, then=then) from None
        self._ocr = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
        self._last: tuple[Image.Image, TextBoxes] | None = None

    def find(self, pixels: Image.Image) -> TextBoxes:
        if self._last is None or self._last[0] is not pixels:
            self._last = pixels, self._find(pixels)
        return self._last[1]

    def read(self, image: Any, boxes: Sequence[Any], longest: float | None = None) -> list[str]:
        """The text of each box, empty if it cannot be read. `longest`: only so many heights of each line are read."""
        lines = self._ocr.get_crop_img_list(image, boxes)
        starts = lines if longest is None else [line[:, : round(longest * line.shape[0])] for line in lines]
        read, _ = self._ocr.text_rec(starts)
        return [text if _is_text(text, sure) else "" for text, sure in read]

    def _find(self, pixels: Image.Image) -> TextBoxes:
        scale = min(1.0, _SHORTER_SIDE / min(pixels.size), _LONGER_SIDE / max(pixels.size))
        width, height = (max(1, round(side * scale)) for side in pixels.size)
        small = pixels.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
        # The networks expect BGR.
        image = np.ascontiguousarray(np.asarray(_with_white_beside(small))[:, :, ::-1])
        found, _ = self._ocr.text_det(image)
        return TextBoxes(image, sorted(found if found is not None else (), key=_area, reverse=True), scale)


def _with_white_beside(image: Image.Image) -> Image.Image:
    width, height = (max(side, max(image.size) // _MOST_OBLONG) for side in image.size)
    if (width, height) == image.size:
        return image
    padded = Image.new("RGB", (width, height), "white")
    padded.paste(image)
    return padded


def _is_text(text: str, sure: float) -> bool:
    return sure >= _LEAST_SURE and sum(map(str.isalnum, text)) >= _LEAST_CHARACTERS


def _area(corners: Any) -> float:
    """The area of a polygon, by the shoelace formula."""
    x, y = np.asarray(corners, dtype=np.float64).T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
