"""What a picture must be to be used: one small file a filter, each with a measure and a threshold."""

from functools import lru_cache

from spavl.pictures.config import PicturesConfig
from spavl.pictures.filters.porn import Porn
from spavl.pictures.filters.resolution import Aspect, Side
from spavl.pictures.filters.similarity import Similarity
from spavl.pictures.filters.types import Filter, Seen
from spavl.pictures.filters.words import Words

__all__ = ["Filter", "Seen", "Similarity", "filters_of"]


@lru_cache(maxsize=1)
def filters_of(settings: PicturesConfig) -> tuple[Filter, ...]:
    """The filters that these settings ask for, the cheapest first. Models are loaded here, once a worker."""
    filters: list[Filter] = [Side(settings.smallest_side), Aspect(settings.widest_ratio)]
    if settings.least_similarity is not None:
        filters.append(Similarity(settings.least_similarity))
    if settings.most_porn is not None:
        filters.append(Porn(settings.most_porn))
    if settings.most_words is not None:
        filters.append(Words(settings.most_words))
    return tuple(filters)
