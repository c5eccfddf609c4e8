"""What a picture must be to be used: one small file a filter, each with a measure and a threshold."""

from functools import lru_cache

from spavl.data.downloads.config import PicturesConfig
from spavl.data.downloads.filters.porn import Porn
from spavl.data.downloads.filters.resolution import Aspect, Side
from spavl.data.downloads.filters.similarity import Similarity
from spavl.data.downloads.filters.types import Filter, Seen
from spavl.data.downloads.filters.words import Words

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
