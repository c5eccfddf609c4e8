"""Whether two images whose perceptual hashes agree differ in a region: the text of a meme, the lines of a page.

A perceptual hash contains only the coarsest shapes, so a meme template with different texts has one hash. Here both
images are converted to grey and compared block by block by their structure, as SSIM does. The block that differs most
decides: if an image is recompressed, resized or cropped, all blocks stay alike; with another text, the blocks under it
do not.

One template may have many images, and each is compared with all others. So most pairs are compared without
registration, at 128 x 128, and those that pass again at 256 x 256, if both are that large. For those that fail, small
copies show, for many pairs at once, whether one image seems shifted against the other (cropped). Only these few pairs
are registered, which takes a hundred times longer; they are compared at 128 x 128 only, since resampling changes the
finest lines.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The sides at which images are compared, and the side of the small copy.
FINE, COARSE, _SMALL = 256, 128, 32
# Blocks are two steps wide, and one starts at each step.
_STEP = 8
# The largest difference of a block of alike images: 0 is equal, 1 is uncorrelated, 2 is the negative.
_MOST = 0.35
# Variance below this floor is noise and not structure. The floor is `_OF_THE_ORDINARY` times the difference of the
# block at the `_ORDINARY`th percentile of a pair, within the limits of `_NOISE`: an image saved as a GIF may have noise
# everywhere, and a text on a pale ground does not count as noise.
_NOISE, _ORDINARY, _OF_THE_ORDINARY, _NOISE_MOVED = (30.0, 600.0), 75, 12.0, 600.0
# As shares of the side: the largest shift, the smallest that counts as moved, and the smallest from which on the outer
# `_RIM` pixels are left out, since they have no counterpart.
_LARGEST_CROP, _MOVED, _RIM_FROM, _RIM = 0.1, 0.0015, 0.004, 8
# Steps of the registration at a quarter, at half and at full size; and the grey difference of an outlier.
_STEPS, _OUTLIER = ((4, 8), (2, 5), (1, 4)), 10.0
# The grey difference of an outlier, at each step of the estimate from the small copies.
_GUESSES = (32.0, 16.0, 8.0, 4.0, 4.0)
# Pairs compared at a time, so that they stay in the CPU cache.
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
    # Bilinear, so that hard edges look alike whatever size the image was resized to before.
    coarse, fine = (np.asarray(grey.resize((side, side), Image.Resampling.BILINEAR)) for side in (COARSE, FINE))
    return ImageDetail(coarse, fine if min(image.size) >= FINE else None)


def alike(
    one: ImageDetail, others: Sequence[ImageDetail], alike_moved: Callable[[list[Pair]], Sequence[bool]]
) -> list[bool]:
    """Which of the others are alike to the one. Pairs that seem moved take long and are passed to `alike_moved`."""
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
    """For each pair, whether the images are moved against each other and alike after registration."""
    return [_are_alike_moved(*pair) for pair in pairs]


def _seem_moved(one: Shades, others: Shades) -> NDArray[np.bool_]:
    """Which of the others seem to be moved or stretched against the one, estimated from small copies.

    Like `_nearer`, but with the gradients of the one image only, so that many pairs take a few matrix products.
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
        _Blocks.of(np.ascontiguousarray(each[within, within])[None]) for each in (own, _shifted_image(its, shift))
    )
    return bool(_unlike(first, second, (_NOISE_MOVED, _NOISE_MOVED))[0] <= _MOST)


class _Blocks(NamedTuple):
    """The pixels of some images, and the mean and the variance of each block."""

    greys: Greys
    mean: Greys
    spread: Greys

    @classmethod
    def of(cls, greys: Greys) -> "_Blocks":
        mean = _of_blocks(greys)
        return cls(greys, mean, _of_blocks(greys * greys) - mean * mean)


def _unlike(one: _Blocks, others: _Blocks, noise: tuple[float, float]) -> Greys:
    """The difference in structure of the block that differs most, regardless of brightness."""
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
    """The largest horizontal or vertical displacement of a point, as a share of the side."""
    found: NDArray[np.floating] = (np.abs(shift[..., :2]) + np.abs(shift[..., 2:]) / 2).max(-1)
    return found


def _register(one: Greys, other: Greys) -> Shift:
    """The shift and scale that map the other image onto the one (robust Gauss-Newton). A crop is no more than that."""
    shift = np.zeros(4)
    for coarser, steps in _STEPS:
        small, its_small = _shrunk(np.stack([one, other]), COARSE // coarser)
        for _ in range(steps):
            shift = _nearer(small, its_small, shift)
    return shift


def _nearer(one: Greys, other: Greys, shift: Shift) -> Shift:
    moved = _shifted_image(other, shift)
    by = _changes(moved)
    missing = (one - moved).ravel()
    # Pixels that differ get less weight, so that they do not distort the registration.
    weighted = by / (1 + np.abs(missing) / _OUTLIER)
    normal = weighted @ by.T
    normal += np.eye(4) * (1e-3 * np.trace(normal) / 4 + 1e-6)
    return np.clip(shift + np.linalg.solve(normal, weighted @ missing), -_LARGEST_CROP, _LARGEST_CROP)


def _changes(greys: Greys) -> NDArray[np.float64]:
    """The derivative of each pixel with respect to the shift and the scale, horizontal and vertical."""
    down, right = np.gradient(greys)
    side, off = len(greys), _from_the_middle(len(greys))
    changes = [right * side, down * side, right * side * off[None, :], down * side * off[:, None]]
    found: NDArray[np.float64] = np.stack(changes).reshape(4, -1)
    return found


def _shifted_image(greys: Greys, shift: Shift) -> Greys:
    """The image, shifted by the first two parameters and scaled about its center by the others."""
    side = len(greys)
    off = _from_the_middle(side)
    across, along = (np.arange(side) + side * (shift[axis] + shift[axis + 2] * off) for axis in (0, 1))
    return _between(_between(greys, across).T, along).T


def _between(greys: Greys, places: NDArray[np.float64]) -> Greys:
    """Each row interpolated linearly at `places`, which may lie between columns."""
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
