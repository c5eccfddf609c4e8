"""Downloads image data sets from a hub: `hub/OWNER/NAME` or `hub/OWNER/NAME@REVISION`."""

import json
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from spavl.data.sourcing.readers.entry import IMAGES
from spavl.data.sourcing.shards import READABLE, is_packed
from spavl.errors import ConfigError, MissingExtra, ProviderError, how_to_install
from spavl.store.files import write_text

PREFIX = "hub/"
# Embeddings of images that a data set has beside its tables.
_VECTORS = "*img_emb_*.npy"
_ENDINGS = (*READABLE, *IMAGES, *(ending.upper() for ending in IMAGES))
_BY_HAND = "look at the name, or download it by hand and give its folder"
_GO_ON = "type the same command to go on where it stopped; if it stays so, download it by hand and give its folder"


class HubDataset(NamedTuple):
    """A downloaded revision of a data set, and the number of packed archives that were not downloaded."""

    place: Path
    revision: str
    packed: int


def fetch(source: str, folder: Path, max_gb: float) -> HubDataset:
    """Download the data set's tables, tars and images into the run, once: later calls send no request to the hub."""
    # Each revision has its own folder in the run.
    pinned = source.removeprefix(PREFIX)
    name, _, revision = pinned.partition("@")
    if name.count("/") != 1:
        raise ConfigError("no name of a data set", where=source, then="write it as hub/OWNER/NAME[@REVISION]")
    place, about = folder / pinned, folder / f"{pinned}.json"
    if about.exists():
        return HubDataset(place, **json.loads(about.read_text()))
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ModuleNotFoundError as error:
        raise MissingExtra(f"asking a hub needs {error.name}", then=how_to_install("hub")) from None
    try:
        there = HfApi().dataset_info(name, revision=revision or None, files_metadata=True)
        sizes = {each.rfilename: each.size or 0 for each in there.siblings or ()}
        wanted = _download_patterns(sizes)
        _check(source, sizes, wanted, max_gb)
        snapshot_download(name, repo_type="dataset", revision=there.sha, allow_patterns=wanted, local_dir=place)
    except ConfigError:
        raise
    except Exception as error:  # the client has dozens, and no common base
        raise ProviderError(f"the hub did not give this data set: {error}", where=source, then=_GO_ON) from error
    fetched = HubDataset(place, str(there.sha), sum(map(is_packed, sizes)))
    write_text(about, json.dumps({"revision": fetched.revision, "packed": fetched.packed}))
    return fetched


def _download_patterns(names: Collection[str]) -> list[str]:
    """Patterns of the files to download. Text files are included only if there are images that they may describe."""
    images = any(name.lower().endswith(IMAGES) for name in names)
    return [*(f"*{ending}" for ending in _ENDINGS), _VECTORS, *(["*.txt"] if images else [])]


def _check(source: str, sizes: Mapping[str, int], wanted: Sequence[str], max_gb: float) -> None:
    chosen = [size for name, size in sizes.items() if any(fnmatchcase(name, pattern) for pattern in wanted)]
    if not chosen:
        what = f"this data set has no tables, tars or images, but {len(sizes)} other files"
        raise ConfigError(what, where=source, then=_BY_HAND)
    if (gb := sum(chosen) / 1e9) > max_gb:
        what = f"this data set has {gb:.1f} GB of tables, tars and images, more than sourcing.max_gb = {max_gb:g}"
        raise ConfigError(what, where=source, then="raise it, or download a part by hand and give its folder")
