"""Rejects images that are mostly text: screenshots, posters, quotations, pages."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from spavl.data.downloads.filters.read_text import TextReader
from spavl.data.downloads.filters.types import FilterInput

# To tell text from fur, the recognition network needs only the start of a line, this many times as long as high.
_START = 6
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

    def __init__(self, most: float, reader: TextReader) -> None:
        self._most, self._reader = most, reader

    def measure(self, seen: FilterInput) -> float:
        image, boxes, _ = self._reader.find(seen.pixels)
        lines: list[Any] = []
        share = 0.0
        for start in range(0, len(boxes), _AT_A_TIME):
            some = boxes[start : start + _AT_A_TIME]
            lines += [box for box, text in zip(some, self._reader.read(image, some, _START), strict=True) if text]
            share = max(_covered_share(lines, image.shape[:2]), min(1.0, len(lines) / _PAGE))
            if self.refuses(share):
                break
        return share

    def refuses(self, measured: float) -> bool:
        return measured > self._most


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
