"""Covers rectangles of an image, so that what they showed cannot be restored."""

from collections.abc import Iterable

import numpy as np
from PIL import Image


def cover(pixels: Image.Image, boxes: Iterable[tuple[float, float, float, float]]) -> Image.Image:
    """A copy in which each box (left, top, right, bottom) has one colour: the mean of what it covers.

    A blur or a mosaic can be reversed in part, by a model that has seen others; of a mean nothing but itself is left.
    """
    covered = pixels.copy()
    for left, top, right, bottom in boxes:
        place = (int(left), int(top), max(int(left) + 1, -int(-right // 1)), max(int(top) + 1, -int(-bottom // 1)))
        mean = np.asarray(pixels.crop(place), dtype=np.float64).reshape(-1, 3).mean(axis=0)
        red, green, blue = (round(float(each)) for each in mean)
        covered.paste((red, green, blue), place)
    return covered
