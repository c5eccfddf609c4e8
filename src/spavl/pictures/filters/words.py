"""Pictures that are mostly text: screenshots, posters, quotations."""

from typing import Any

import numpy as np

from spavl.errors import MissingExtra
from spavl.pictures.filters.types import Seen

# Text worth reading is still found at this size, and finding it takes time by the pixel.
_LONGEST_SIDE = 736


class Words:
    """The share of the picture that boxes of text cover; what they say is not read."""

    name, reason = "words", "too_many_words"

    def __init__(self, most: float) -> None:
        self._most = most
        self._find = _text_detector()

    def measure(self, seen: Seen) -> float:
        small = seen.pixels.copy()
        small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        # The network was fed with BGR.
        boxes, _ = self._find(np.ascontiguousarray(np.asarray(small)[:, :, ::-1]))
        covered = sum(_area(box) for box in boxes) if boxes is not None else 0.0
        return min(1.0, covered / (small.width * small.height))

    def refuses(self, measured: float) -> bool:
        return measured > self._most


def _area(corners: Any) -> float:
    """Of a polygon, by the shoelace formula."""
    x, y = np.asarray(corners, dtype=np.float64).T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def _text_detector() -> Any:
    try:
        from rapidocr_onnxruntime.ch_ppocr_det import TextDetector
        from rapidocr_onnxruntime.main import DEFAULT_CFG_PATH
        from rapidocr_onnxruntime.utils import read_yaml, update_model_path
    except ModuleNotFoundError:
        then = 'pip install "spavl[words]"'
        raise MissingExtra("this filter needs rapidocr-onnxruntime", where="pictures.most_words", then=then) from None
    settings = update_model_path(read_yaml(DEFAULT_CFG_PATH))["Det"]
    return TextDetector(settings | {"intra_op_num_threads": 1, "inter_op_num_threads": 1})
