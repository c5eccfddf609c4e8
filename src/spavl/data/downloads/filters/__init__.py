"""Image filters, one file each, with a measure and a threshold."""

from functools import lru_cache

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.filters.porn import PornFilter
from spavl.data.downloads.filters.resolution import AspectRatioFilter, ShorterSideFilter
from spavl.data.downloads.filters.similarity import SimilarityFilter
from spavl.data.downloads.filters.types import FilterInput, ImageFilter
from spavl.data.downloads.filters.words import TextAreaFilter

__all__ = ["FilterInput", "ImageFilter", "SimilarityFilter", "filters_of"]


@lru_cache(maxsize=1)
def filters_of(settings: DownloadsConfig) -> tuple[ImageFilter, ...]:
    """The filters that the settings turn on, the cheapest first. Models are loaded here, once per worker."""
    filters: list[ImageFilter] = [ShorterSideFilter(settings.min_side), AspectRatioFilter(settings.max_aspect_ratio)]
    if settings.min_similarity is not None:
        filters.append(SimilarityFilter(settings.min_similarity))
    if settings.max_nudity is not None:
        filters.append(PornFilter(settings.max_nudity))
    if settings.max_text_area is not None:
        filters.append(TextAreaFilter(settings.max_text_area))
    return tuple(filters)
