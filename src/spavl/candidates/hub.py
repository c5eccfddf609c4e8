"""Data sets of pictures from a hub, by `hub/OWNER/NAME`."""

import json
from pathlib import Path
from typing import NamedTuple

from spavl.candidates.shards import READABLE, is_packed
from spavl.errors import ConfigError, MissingExtra, ProviderError
from spavl.store.files import write_text

PREFIX = "hub/"
# Vectors of pictures, where a data set has them beside its tables.
_VECTORS = "img_emb_*.npy"
_BY_HAND = "look at the name, or download it by hand and give its folder"
_GO_ON = "type the same command to go on where it stopped; if it stays so, download it by hand and give its folder"


class Fetched(NamedTuple):
    """A data set as it was on the hub at one moment, and what of it was left there."""

    place: Path
    revision: str
    packed: int


def fetch(source: str, folder: Path) -> Fetched:
    """The data set's tables and tars, copied into the run. Once they are there the hub is not asked again."""
    name = source.removeprefix(PREFIX)
    if name.count("/") != 1:
        raise ConfigError("no name of a data set", where=source, then="write it as hub/OWNER/NAME")
    place, about = folder / name, folder / f"{name}.json"
    if about.exists():
        return Fetched(place, **json.loads(about.read_text()))
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ModuleNotFoundError as error:
        raise MissingExtra(f"asking a hub needs {error.name}", then='pip install "spavl[hub]"') from None
    try:
        there = HfApi().dataset_info(name)
        names = [each.rfilename for each in there.siblings or ()]
        if not any(each.endswith(READABLE) for each in names):
            what = f"this data set has no tables or tars, but {len(names)} other files"
            raise ConfigError(what, where=source, then=_BY_HAND)
        wanted = [*(f"*{ending}" for ending in READABLE), f"*{_VECTORS}"]
        snapshot_download(name, repo_type="dataset", revision=there.sha, allow_patterns=wanted, local_dir=place)
    except ConfigError:
        raise
    except Exception as error:  # the client has dozens, and no common base
        raise ProviderError(f"the hub did not give this data set: {error}", where=source, then=_GO_ON) from error
    fetched = Fetched(place, str(there.sha), sum(map(is_packed, names)))
    write_text(about, json.dumps({"revision": fetched.revision, "packed": fetched.packed}))
    return fetched
