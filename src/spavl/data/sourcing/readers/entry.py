"""The types that every reader yields: images with their captions, and skipped entries."""

import re
from pathlib import PurePosixPath
from typing import NamedTuple

IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif")
# Endings of images that are not decoded, and the reject reason of these.
OTHER_IMAGES = (".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".svg")
OTHER_FORMAT = "other_format"
NO_LICENSE = "unknown"
# Longer captions are cut at this length.
LONGEST_TEXT = 2**16
# If an image has several captions, at most this many are read.
MOST_SAID = 16
# A number with a decimal comma. A comma before exactly three digits separates thousands, but for after a zero.
_DECIMAL_COMMA = re.compile(r"\s*[+-]?(?:0*,\d+|\d+,(?:\d{1,2}|\d{4,}))\s*")


class SourceEntry(NamedTuple):
    """An image of a source: where to fetch its bytes, and its metadata."""

    source: str
    caption: str
    license: str = NO_LICENSE
    # Similarity of image and caption as the source states it.
    similarity: float | None = None
    # Where it was found on the web; empty if unknown.
    url: str = ""
    # Where the source has its embedding, as PATH#ROW; empty if nowhere.
    vector: str = ""


class RowLimits(NamedTuple):
    """Limits on stated values beyond which rows are left out; None for no limit."""

    max_unsafe: float | None = None
    min_side: int | None = None


class SkippedEntry(NamedTuple):
    """A row, file or member of a source that is not used, and the reason."""

    place: str
    reason: str


def leads_out(name: str) -> bool:
    """Whether an untrusted file name points outside its folder or archive."""
    return name.startswith(("/", "~")) or "\\" in name or "\0" in name or ".." in PurePosixPath(name).parts


def number(value: object) -> float | None:
    """An untrusted value as a number, also with a decimal comma; None if it is not a number or out of range."""
    if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value):
        value = value.replace(",", ".")
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if -1e9 < found < 1e9 else None


def is_stated(value: object) -> bool:
    """Whether an untrusted cell holds anything. Other tools write a missing number as NaN."""
    if isinstance(value, list):
        return any(map(is_stated, value))
    if isinstance(value, str):
        return bool(text := value.strip()) and not (len(text) == len("nan") and text.casefold() == "nan")
    return value is not None and value == value
