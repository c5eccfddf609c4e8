"""The cache folder shared by all runs; it may be deleted at any time."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """SPAVL_CACHE, or `spavl` in the user's cache folder."""
    if named := os.environ.get("SPAVL_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spavl"
