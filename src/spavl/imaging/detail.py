"""Whether two images whose perceptual hashes agree differ in a region: a meme's text, a page's lines.

A perceptual hash holds the coarsest shapes alone, so one template with other words has one hash. Here both images are
looked at in grey, and compared block by block by their structure, as SSIM does. The block that differs most decides:
saved worse, smaller or cropped, all blocks stay alike; with other words, those under the words do not.

Images of one template are many, and each is held against all others. So a small copy of both says first, for many
pairs at once, whether one was moved against the other (cropped). Most were not: then they are compared as they lie, at
128 x 128, and those that pass at 256 x 256, if both are that large. Only the few that seem moved are brought into
register, which takes a hundred times longer; these are compared at 128 x 128, as what was drawn again at other places
is never the same in its finest lines.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The sides at which images are compared, and that of the small copy.
FINE, COARSE, _SMALL = 256, 128, 32
# A block is two steps wide, and there is one at each step.
_STEP = 8
# What a block may differ by, from 0 (equal) over 1 (nothing in common) to 2 (one is the other's negative).
_MOST = 0.35
# Squared shades of grey: noise of this strength on a plain block is no structure. It goes by how much the middle block
# of a pair differs, so that all of an image saved as a GIF may have noise, and words on a pale ground are none.
_NOISE, _ORDINARY, _OF_THE_ORDINARY, _NOISE_MOVED = (30.0, 600.0), 75, 12.0, 600.0
# How far an image may be moved, as a share of the side; and by more than how much it is no longer as it lay. From some
# more on, so many points of the rim have no counterpart.
_LARGEST_CROP, _MOVED, _RIM_FROM, _RIM = 0.1, 0.0015, 0.004, 8
# Steps towards register at a quarter and a half of the size and at the whole, and the shade of an outlier.
_STEPS, _OUTLIER = ((4, 8), (2, 5), (1, 4)), 10.0
# A guess at it from the small copies: at each step, the shade of an outlier.
_GUESSES = (32.0, 16.0, 8.0, 4.0, 4.0)
# Pairs compared at a time, so that they stay in the processor's own memory.
_AT_ONCE = 16

Shades = NDArray[np.uint8]
Greys = NDArray[np.float32]
Shift = NDArray[np.float64]


class ImageDetail(NamedTuple):
    """An image in grey at 128 x 128, and at 256 x 256 unless it is smaller."""

    coarse: Shades
    fine: Shades | None


Pair = tuple[ImageDetail, ImageDetail]


def detail_of(image: Image.Image) -> ImageDetail:
    grey = image.convert("L")
    # Slanted, so that hard edges lie alike whatever the size that an image was brought to before.
    coarse, fine = (np.asarray(grey.resize((side, side), Image.Resampling.BILINEAR)) for side in (COARSE, FINE))
    return ImageDetail(coarse, fine if min(image.size) >= FINE else None)


def alike(
    one: ImageDetail, others: Sequence[ImageDetail], alike_moved: Callable[[list[Pair]], Sequence[bool]]
) -> list[bool]:
    """Which of the others show what the one shows. The few pairs that seem moved are given away, as they take long."""
    coarse = np.stack([other.coarse for other in others])
    found = _alike_as_they_lie(one.coarse, coarse)
    if one.fine is not None:
        passed = ((place, others[place].fine) for place in np.flatnonzero(found).tolist())
        fine = {place: shades for place, shades in passed if shades is not None}
        found[list(fine)] = _alike_as_they_lie(one.fine, list(fine.values()))
    if len(unlike := np.flatnonzero(~found)):
        moved = unlike[_seem_moved(one.coarse, coarse[unlike])].tolist()
        if moved:
            found[moved] = alike_moved([(one, others[place]) for place in moved])
    answers: list[bool] = found.tolist()
    return answers


def are_alike_moved(pairs: Iterable[Pair]) -> list[bool]:
    """Of each pair, whether the other shows what the one shows if it is first moved to lie upon it."""
    return [_are_alike_moved(*pair) for pair in pairs]


def _seem_moved(one: Shades, others: Shades) -> NDArray[np.bool_]:
    """Which of the others seem to be moved or stretched against the one, by small copies.

    As `_nearer`, but from the slopes of the one alone, so that many pairs are a few products of matrices.
    """
    own, count = _shrunk(one[None], _SMALL), len(others)
    by = _changes(own[0]).astype(np.float32)
    products = (by[:, None] * by[None]).reshape(16, -1)
    missing = (own - _shrunk(others, _SMALL)).reshape(count, -1)
    shift = np.zeros((count, 4), dtype=np.float32)
    for outlier in _GUESSES:
        weights = 1 / (1 + np.square((missing - shift @ by) / np.float32(outlier)))
        normal = (weights @ products.T).reshape(count, 4, 4)
        normal += np.eye(4) * (1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 4 + 1e-6)
        aim = (weights * missing) @ by.T
        shift = np.linalg.solve(normal, aim[..., None])[..., 0].astype(np.float32)
    return _extent(shift) > _MOVED


def _alike_as_they_lie(one: Shades, others: Sequence[Shades] | Shades) -> NDArray[np.bool_]:
    own, found = _Blocks.of(one[None].astype(np.float32)), np.zeros(len(others), dtype=np.bool_)
    for start in range(0, len(others), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        found[some] = _unlike(own, _Blocks.of(np.asarray(others[some], dtype=np.float32)), _NOISE) <= _MOST
    return found


def _are_alike_moved(one: ImageDetail, other: ImageDetail) -> bool:
    own, its = (each.coarse.astype(np.float32) for each in (one, other))
    shift = _register(own, its)
    moved = float(_extent(shift))
    if moved <= _MOVED:
        return False
    within = slice(_RIM, COARSE - _RIM) if moved > _RIM_FROM else slice(None)
    first, second = (
        _Blocks.of(np.ascontiguousarray(each[within, within])[None]) for each in (own, _shifted(its, shift))
    )
    return bool(_unlike(first, second, (_NOISE_MOVED, _NOISE_MOVED))[0] <= _MOST)


class _Blocks(NamedTuple):
    """Of some images: their points, and the mean and the variance of each block."""

    greys: Greys
    mean: Greys
    spread: Greys

    @classmethod
    def of(cls, greys: Greys) -> "_Blocks":
        mean = _of_blocks(greys)
        return cls(greys, mean, _of_blocks(greys * greys) - mean * mean)


def _unlike(one: _Blocks, others: _Blocks, noise: tuple[float, float]) -> Greys:
    """How much that block differs in its structure, whatever its brightness, that differs most."""
    spread = one.spread + others.spread
    differs = spread - 2 * (_of_blocks(one.greys * others.greys) - one.mean * others.mean)
    place = _ORDINARY * differs[0].size // 100
    ordinary = np.partition(differs.reshape(len(differs), -1), place)[:, place, None, None]
    floor = np.clip(_OF_THE_ORDINARY * ordinary, *noise)
    found: Greys = (differs / (spread + floor)).max((1, 2))
    return found


def _of_blocks(greys: Greys) -> Greys:
    """The mean of each block."""
    images, side, _ = greys.shape
    count = side // _STEP
    # Rows first: sums of whole rows are fast.
    rows = greys.reshape(images, count, _STEP, side).sum(2)
    cells = rows.reshape(images, count, count, _STEP).sum(3)
    blocks: Greys = (cells[:, 1:, 1:] + cells[:, :-1, 1:] + cells[:, 1:, :-1] + cells[:, :-1, :-1]) / np.float32(
        4 * _STEP * _STEP
    )
    return blocks


def _extent(shift: NDArray[np.floating]) -> NDArray[np.floating]:
    """By how much of the side the point is moved that is moved most, across or along."""
    found: NDArray[np.floating] = (np.abs(shift[..., :2]) + np.abs(shift[..., 2:]) / 2).max(-1)
    return found


def _register(one: Greys, other: Greys) -> Shift:
    """How the other is to be moved and stretched to lie upon the one: a crop does no more (Gauss-Newton, robust)."""
    shift = np.zeros(4)
    for coarser, steps in _STEPS:
        small, its_small = _shrunk(np.stack([one, other]), COARSE // coarser)
        for _ in range(steps):
            shift = _nearer(small, its_small, shift)
    return shift


def _nearer(one: Greys, other: Greys, shift: Shift) -> Shift:
    moved = _shifted(other, shift)
    by = _changes(moved)
    missing = (one - moved).ravel()
    # What differs is not to pull the rest out of register.
    weighted = by / (1 + np.abs(missing) / _OUTLIER)
    normal = weighted @ by.T
    normal += np.eye(4) * (1e-3 * np.trace(normal) / 4 + 1e-6)
    return np.clip(shift + np.linalg.solve(normal, weighted @ missing), -_LARGEST_CROP, _LARGEST_CROP)


def _changes(greys: Greys) -> NDArray[np.float64]:
    """How each point changes as the image is moved right, moved down, and stretched in both."""
    down, right = np.gradient(greys)
    side, off = len(greys), _from_the_middle(len(greys))
    changes = [right * side, down * side, right * side * off[None, :], down * side * off[:, None]]
    found: NDArray[np.float64] = np.stack(changes).reshape(4, -1)
    return found


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


def _shrunk(images: NDArray[np.generic], side: int) -> Greys:
    by = images.shape[1] // side
    # Rows first: sums of whole rows are fast.
    rows = images.reshape(len(images), side, by, side * by).sum(2, dtype=np.float32)
    found: Greys = rows.reshape(len(images), side, side, by).sum(3) / np.float32(by * by)
    return found
