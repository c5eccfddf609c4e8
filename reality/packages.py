"""The packages that carry weights: `make reality` installs them apart, so that only its own steps find them."""

import importlib.util
from pathlib import Path

from tests.support.repository import ROOT

FOLDER = ROOT / ".reality" / "packages"


def package(name: str) -> Path:
    """The folder of a package, without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{name} is not installed; next: make reality")
    return Path(found.submodule_search_locations[0])
