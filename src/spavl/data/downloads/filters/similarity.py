"""Rejects images that do not match their caption."""

from spavl.data.downloads.filters.types import FilterInput
from spavl.errors import ConfigError


class SimilarityFilter:
    """How well the source holds image and caption to fit. Where it does not say, `scoring` asks a model."""

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
