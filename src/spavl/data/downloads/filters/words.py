"""Rejects images that are mostly text: screenshots, posters, quotations, pages."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from spavl.data.downloads.filters.types import FilterInput
from spavl.errors import MissingExtra, how_to_install

# The time to find text grows with the pixels. The network scales the shorter side to this length in any case.
_SHORTER_SIDE, _LONGER_SIDE = 736, 2208
# The detection network takes fur, leaves and olives for text; the recognition network does not. To tell, it needs only
# the start of a line, this many times as long as high.
_LEAST_SURE, _LEAST_CHARACTERS, _START = 0.6, 2, 6
# Lines no further apart than this many of their heights are one block of text.
_GAP = 1.5
# This many lines of text, of any size, count as a full page.
_PAGE = 40
# Batch size of the recognition network.
_AT_A_TIME = 6


class TextAreaFilter:
    """The larger of two: the share of the image that readable text covers, and its number of lines over a full page's.

    Reading stops once the share is too large, so the stored share of a refused image is a lower bound.
    """

    name, reason = "words", "too_many_words"

    def __init__(self, most: float) -> None:
        self._most = most
        self._ocr = _reader()

    def measure(self, seen: FilterInput) -> float:
        # The networks expect BGR.
        image = np.ascontiguousarray(np.asarray(_shrunk(seen.pixels))[:, :, ::-1])
        found, _ = self._ocr.text_det(image)
        boxes = sorted(found if found is not None else (), key=_area, reverse=True)
        lines: list[Any] = []
        share = 0.0
        for start in range(0, len(boxes), _AT_A_TIME):
            some = boxes[start : start + _AT_A_TIME]
            starts = [line[:, : _START * line.shape[0]] for line in self._ocr.get_crop_img_list(image, some)]
            read, _ = self._ocr.text_rec(starts)
            lines += [box for box, (text, sure) in zip(some, read, strict=True) if _is_text(text, sure)]
            share = max(_covered_share(lines, image.shape[:2]), min(1.0, len(lines) / _PAGE))
            if self.refuses(share):
                break
        return share

    def refuses(self, measured: float) -> bool:
        return measured > self._most


def _shrunk(pixels: Image.Image) -> Image.Image:
    scale = min(1.0, _SHORTER_SIDE / min(pixels.size), _LONGER_SIDE / max(pixels.size))
    width, height = (max(1, round(side * scale)) for side in pixels.size)
    return pixels.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _is_text(text: str, sure: float) -> bool:
    return sure >= _LEAST_SURE and sum(map(str.isalnum, text)) >= _LEAST_CHARACTERS


def _covered_share(lines: Sequence[Any], shape: tuple[int, int]) -> float:
    """The share of the image that the lines cover together, including the gaps between lines of one block."""
    if not lines:
        return 0.0
    # OpenCV is a dependency of rapidocr-onnxruntime.
    import cv2

    mask = np.zeros(shape, dtype=np.uint8)
    for line in lines:
        cv2.fillPoly(mask, [np.rint(line).astype(np.int32)], 1)
    gap = max(1, round(_GAP * float(np.median([_height(line) for line in lines]))))
    return float(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8)).mean())


def _height(line: Any) -> float:
    """The shorter side of a box of four corners."""
    return float(min(np.linalg.norm(line[0] - line[1]), np.linalg.norm(line[0] - line[3])))


def _area(corners: Any) -> float:
    """The area of a polygon, by the shoelace formula."""
    x, y = np.asarray(corners, dtype=np.float64).T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def _reader() -> Any:
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ModuleNotFoundError:
        then = how_to_install("words")
        raise MissingExtra(
            "this filter needs rapidocr-onnxruntime", where="downloads.max_text_area", then=then
        ) from None
    return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
