"""Pictures that do not show what their caption says."""

from spavl.errors import ConfigError
from spavl.imaging.clip import Clip
from spavl.imaging.form import shaped
from spavl.pictures.filters.types import Seen


class Similarity:
    """The source's own figure where it has one, else the cosine of a CLIP or SigLIP model, if one is named."""

    name, reason = "similarity", "unlike_caption"

    def __init__(self, least: float, model: str) -> None:
        self._least = least
        self._clip = Clip(model, "pictures.similarity_model") if model else None

    def measure(self, seen: Seen) -> float:
        if seen.similarity is not None:
            return seen.similarity
        if self._clip is None:
            then = "name a model as pictures.similarity_model, or leave least_similarity out"
            raise ConfigError(
                "the source gives no similarity of picture and caption", where="pictures.least_similarity", then=then
            )
        (shown,) = self._clip.pictures([shaped(seen.pixels, self._clip.form)])
        (said,) = self._clip.texts([seen.caption])
        return float(shown @ said)

    def refuses(self, measured: float) -> bool:
        return measured < self._least
