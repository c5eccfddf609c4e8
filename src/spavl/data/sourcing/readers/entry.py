"""What every reader yields: images with their captions, and what was left out."""

from pathlib import PurePosixPath
from typing import NamedTuple

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
NO_LICENSE = "unknown"
# What is said of an image is read up to here.
LONGEST_TEXT = 2**16


class SourceEntry(NamedTuple):
    """An image of a source: where its bytes are fetched, and what the source says of it."""

    source: str
    caption: str
    license: str = NO_LICENSE
    # How well image and caption fit, by whoever made the source.
    similarity: float | None = None
    # Where it was found on the web; empty where the source does not say.
    url: str = ""
    # Where a vector of it lies that was made elsewhere, as PATH#ROW.
    vector: str = ""


class RowLimits(NamedTuple):
    """Which rows are left out by what is stated of them; None where it does not matter."""

    max_unsafe: float | None = None
    min_side: int | None = None


class SkippedEntry(NamedTuple):
    """Something in a source that gives no entry."""

    place: str
    reason: str


def leads_out(name: str) -> bool:
    """Whether a name written by a stranger means a place outside the folder or archive it stands in."""
    return name.startswith(("/", "~")) or "\\" in name or "\0" in name or ".." in PurePosixPath(name).parts


def number(value: object) -> float | None:
    """A number as a stranger wrote it, if it is one."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if -1e9 < found < 1e9 else None
