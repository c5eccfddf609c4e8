"""Rejects images that do not match their caption."""

from spavl.data.downloads.filters.types import FilterInput
from spavl.errors import ConfigError


class SimilarityFilter:
    """The similarity of image and caption that the source states. Without one, `caption_scores` computes it."""

    name, reason = "similarity", "unlike_caption"

    def __init__(self, least: float) -> None:
        self._least = least

    def measure(self, seen: FilterInput) -> float:
        if seen.similarity is None:
            then = "name a model as downloads.similarity_model, or leave min_similarity out"
            raise ConfigError(
                "the source gives no similarity of image and caption", where="downloads.min_similarity", then=then
            )
        return seen.similarity

    def refuses(self, measured: float) -> bool:
        return measured < self._least
