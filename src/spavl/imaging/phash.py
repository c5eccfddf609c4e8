"""A perceptual hash: similar images have hashes that differ in few bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE, _LOW = 32, 8
_ROWS = 4 * _SIDE
# The hash of every image of one colour, none of whose frequencies is above their median of 0. It shows nothing, so
# that two such images are alike says nothing.
BLANK = 0
# Rows are the cosines of the 1st to 8th frequency; the 0th is brightness, which says nothing of the shape.
_FREQUENCIES, _PLACES = np.arange(1, _LOW + 1)[:, None], np.arange(_SIDE)[None, :]
_COSINES: NDArray[np.float64] = np.cos(np.pi * _FREQUENCIES * (2 * _PLACES + 1) / (2 * _SIDE))


def perceptual_hash(image: Image.Image) -> str:
    """64 bits in hex: which of the 8 x 8 lowest frequencies of the image are above their median."""
    grey_image = image.convert("L")
    # Most of the way by whole numbers of pixels, which is most of the speed. All of them count: of every few rows one
    # alone, a page of text has another hash at half its size.
    by = (max(1, image.width // _ROWS), max(1, image.height // _ROWS))
    small = grey_image.reduce(by).resize((_SIDE, _SIDE), Image.Resampling.HAMMING)
    grey = np.asarray(small, dtype=np.float64)
    # Rounded, so that a plain image has frequencies of exactly 0 and not of noise.
    found = np.rint(_COSINES @ grey @ _COSINES.T).ravel()
    middle = np.sort(found)[found.size // 2 - 1 : found.size // 2 + 1].mean()
    return np.packbits(found > middle).tobytes().hex()
