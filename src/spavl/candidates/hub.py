"""Data sets of pictures from a hub, by `hub/OWNER/NAME`."""

from pathlib import Path

from spavl.candidates.shards import READABLE
from spavl.errors import ConfigError, MissingExtra, ProviderError

PREFIX = "hub/"


def fetch(source: str, folder: Path) -> Path:
    """The data set's tables and tars, copied into the run; what is there already is not asked for again."""
    name = source.removeprefix(PREFIX)
    if name.count("/") != 1:
        raise ConfigError("no name of a data set", where=source, then="write it as hub/OWNER/NAME")
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise MissingExtra(f"asking a hub needs {error.name}", then='pip install "spavl[hub]"') from None
    place = folder / name
    wanted = [f"*{ending}" for ending in READABLE]
    try:
        snapshot_download(name, repo_type="dataset", allow_patterns=wanted, local_dir=place)
    except Exception as error:  # the client has dozens, and no common base
        then = "look at the name; or download it by hand and give its folder"
        raise ProviderError(f"the hub did not give this data set: {error}", where=source, then=then) from error
    return place
