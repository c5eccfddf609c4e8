"""A perceptual hash: similar images have hashes that differ in few bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE, _LOW = 32, 8
_ROWS = 4 * _SIDE
# The hash of every image of one colour: none of its frequencies is above their median of 0. That two images have this
# hash does not mean that they are alike.
BLANK = 0
# Rows are the cosines of the 1st to 8th frequency; the 0th is brightness, which does not depend on the shape.
_FREQUENCIES, _PLACES = np.arange(1, _LOW + 1)[:, None], np.arange(_SIDE)[None, :]
_COSINES: NDArray[np.float64] = np.cos(np.pi * _FREQUENCIES * (2 * _PLACES + 1) / (2 * _SIDE))


def perceptual_hash(image: Image.Image) -> str:
    """64 bits in hex: which of the 8 x 8 lowest frequencies of the image are above their median."""
    grey_image = image.convert("L")
    # First reduce by a whole number, which is fast. Every pixel is averaged: if rows were skipped, a page of text would
    # have another hash at half its size.
    by = (max(1, image.width // _ROWS), max(1, image.height // _ROWS))
    small = grey_image.reduce(by).resize((_SIDE, _SIDE), Image.Resampling.HAMMING)
    grey = np.asarray(small, dtype=np.float64)
    # Rounded, so that an image of one colour has frequencies of exactly 0 and not rounding noise.
    found = np.rint(_COSINES @ grey @ _COSINES.T).ravel()
    middle = np.sort(found)[found.size // 2 - 1 : found.size // 2 + 1].mean()
    return np.packbits(found > middle).tobytes().hex()
