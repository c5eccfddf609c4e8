"""Whether two images whose perceptual hashes agree differ in a part: the words of a meme, the lines of a page.

A perceptual hash holds the coarsest shapes alone, so one template with other words has one hash. Here both images are
looked at in grey at 128 x 128, brought into register where one was cropped, and compared block by block by their
structure, as SSIM does. The block that differs most decides: saved worse, smaller or cropped, all blocks stay alike;
with other words, those under the words do not.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 128
# A block is two steps wide, and there is one at each step.
_STEP = 8
# What a block may differ by, from 0 (equal) over 1 (nothing in common) to 2 (one is the other's negative).
_MOST = 0.35
# Squared shades of grey: noise of this strength on a plain block is no structure.
_NOISE = 600.0
# Two images are in register if this share of the blocks that hold structure agrees; what then differs is no crop.
_IN_REGISTER, _AGREES = 0.4, 0.02
# How far an image may be moved, as a share of the side. If it was by more than so many points, it has no counterpart
# of the rim.
_LARGEST_CROP, _MOVED, _RIM = 0.1, 0.5, 8
# Steps towards register at a quarter and a half of the size and at the whole, and the shade of an outlier.
_STEPS, _OUTLIER = ((4, 8), (2, 5), (1, 4)), 10.0

Detail = NDArray[np.uint8]
Greys = NDArray[np.float32]
Shift = NDArray[np.float64]


def detail_of(picture: Image.Image) -> Detail:
    return np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def alike(one: Detail, others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the others show what the one shows, in all their parts."""
    own, theirs = one.astype(np.float32), others.astype(np.float32)
    found = np.zeros(len(theirs), dtype=np.bool_)
    for place, other in enumerate(theirs):
        unlike, holds_structure = _unlike(own, other)
        found[place] = unlike.max() <= _MOST or (
            not _in_register(unlike, holds_structure) and _alike_in_register(own, other)
        )
    return found


def _in_register(unlike: Greys, holds_structure: NDArray[np.bool_]) -> bool:
    return bool(holds_structure.any()) and float((unlike[holds_structure] <= _AGREES).mean()) >= _IN_REGISTER


def _alike_in_register(one: Greys, other: Greys) -> bool:
    shift = _register(one, other)
    moved = SIDE * float((np.abs(shift[:2]) + np.abs(shift[2:]) / 2).max())
    rim = _RIM if moved > _MOVED else 0
    within = slice(rim, SIDE - rim)
    unlike, _ = _unlike(one[within, within], _shifted(other, shift)[within, within])
    return bool(unlike.max() <= _MOST)


def _unlike(one: Greys, other: Greys) -> tuple[Greys, NDArray[np.bool_]]:
    """How much each block differs in its structure, whatever its brightness; and which blocks have some."""
    mean, its_mean = _of_blocks(one), _of_blocks(other)
    spread = _of_blocks(one * one) - mean * mean + _of_blocks(other * other) - its_mean * its_mean
    shared = 2 * (_of_blocks(one * other) - mean * its_mean)
    unlike = 1 - (shared + _NOISE) / (spread + _NOISE)
    return unlike.astype(np.float32), spread > 2 * _NOISE


def _of_blocks(greys: Greys) -> Greys:
    """The mean of each block."""
    count = len(greys) // _STEP
    cells = greys.reshape(count, _STEP, count, _STEP).mean((1, 3), dtype=np.float32)
    blocks: Greys = (cells[1:, 1:] + cells[:-1, 1:] + cells[1:, :-1] + cells[:-1, :-1]) / np.float32(4)
    return blocks


def _register(one: Greys, other: Greys) -> Shift:
    """How the other is to be moved and stretched to lie upon the one: a crop does no more (Gauss-Newton, robust)."""
    shift = np.zeros(4)
    for coarser, steps in _STEPS:
        small, its_small = _shrunk(one, coarser), _shrunk(other, coarser)
        for _ in range(steps):
            shift = _nearer(small, its_small, shift)
    return shift


def _nearer(one: Greys, other: Greys, shift: Shift) -> Shift:
    moved, side = _shifted(other, shift), len(one)
    down, right = np.gradient(moved)
    off = _from_the_middle(side)
    by = np.stack([right * side, down * side, right * side * off[None, :], down * side * off[:, None]]).reshape(4, -1)
    missing = (one - moved).ravel()
    # What differs is not to pull the rest out of register.
    weighted = by / (1 + np.abs(missing) / _OUTLIER)
    normal = weighted @ by.T
    normal += np.eye(4) * (1e-3 * np.trace(normal) / 4 + 1e-6)
    return np.clip(shift + np.linalg.solve(normal, weighted @ missing), -_LARGEST_CROP, _LARGEST_CROP)


def _shifted(greys: Greys, shift: Shift) -> Greys:
    """Moved right and down by the first two, and stretched about the middle by the others."""
    side = len(greys)
    off = _from_the_middle(side)
    across, along = (np.arange(side) + side * (shift[axis] + shift[axis + 2] * off) for axis in (0, 1))
    return _between(_between(greys, across).T, along).T


def _between(greys: Greys, places: NDArray[np.float64]) -> Greys:
    """Each row's values at places between its columns."""
    places = np.clip(places, 0, len(greys) - 1)
    left = np.minimum(places.astype(np.intp), len(greys) - 2)
    share = (places - left).astype(np.float32)
    found: Greys = greys[:, left] * (1 - share) + greys[:, left + 1] * share
    return found


def _from_the_middle(side: int) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (np.arange(side) - (side - 1) / 2) / side
    return found


def _shrunk(greys: Greys, by: int) -> Greys:
    count = len(greys) // by
    found: Greys = greys.reshape(count, by, count, by).mean((1, 3))
    return found
