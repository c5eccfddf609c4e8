"""The file of images that people removed: one a line, by SHA-256, perceptual hash or URL; `#` begins a comment."""

from collections.abc import Container
from pathlib import Path

from spavl.errors import ConfigError
from spavl.records import Candidate, DownloadedImage


def read_removals(path: str) -> frozenset[str]:
    if not path:
        return frozenset()
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        then = "give a text file with one hash or URL a line, or leave selection.removals out"
        raise ConfigError(f"the removal list cannot be read: {error}", where=path, then=then) from None
    # A URL may contain a `#`, so a comment must begin after a space.
    entries = (line.partition(" #")[0].strip() for line in lines)
    return frozenset(entry for entry in entries if entry and not entry.startswith("#"))


def is_removed(candidate: Candidate, downloaded: DownloadedImage, removals: Container[str]) -> bool:
    names = (candidate.source, candidate.url, downloaded.original, downloaded.blob, downloaded.phash)
    return any(name in removals for name in names)
