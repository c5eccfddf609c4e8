"""Where pictures come from. A source gives, for a leaf, raw pictures in a fixed order."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from spavl.errors import ConfigError
from spavl.images.config import ImagesConfig
from spavl.miniature import world
from spavl.records import Category
from spavl.store.files import folder_name

# What is assumed of pictures that were not looked at yet.
_USUAL_SIDE = 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A picture as its source gave it; `twin` is the same thing where it does no harm."""

    data: bytes
    source: str
    license: str
    subject: str | None = None
    twin: "Found | None" = None


class Source(Protocol):
    def pictures(self, category: Category) -> Iterator[Found]: ...


class Miniature:
    """Draws as many scenes as are asked for, each with its benign twin."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def pictures(self, category: Category) -> Iterator[Found]:
        number = 0
        while True:
            live, toy = (self._found(category, number, live) for live in (True, False))
            yield Found(live.data, live.source, live.license, live.subject, twin=toy)
            number += 1

    def _found(self, category: Category, number: int, live: bool) -> Found:
        scene = world.scene(category.position, number, self._seed, live)
        name = f"miniature/{self._seed}/{category.position}/{number}/{'live' if live else 'toy'}"
        return Found(world.png(world.draw(scene)), name, "CC0-1.0", scene.thing.noun)


class Folder:
    """A folder with one folder a leaf, named as the leaf; files in the order of their names."""

    def __init__(self, path: Path, categories: Sequence[Category]) -> None:
        self._path = path
        then = "give a folder that holds one folder a leaf, or miniature"
        if not path.is_dir():
            raise ConfigError("there is no such folder of pictures", where=str(path), then=then)
        # Some disks take names apart, ä into a and two dots; ours are whole.
        self._folders = {unicodedata.normalize("NFC", each.name): each for each in path.iterdir() if each.is_dir()}
        if not any(folder_name(category.leaf) in self._folders for category in categories):
            what = f"no folder in it is named as a leaf, such as {folder_name(categories[0].leaf)!r}"
            raise ConfigError(what, where=str(path), then=then)

    def pictures(self, category: Category) -> Iterator[Found]:
        if folder := self._folders.get(folder_name(category.leaf)):
            for file in sorted(path for path in folder.iterdir() if path.is_file()):
                yield Found(file.read_bytes(), str(file.relative_to(self._path)), "unknown")

    def count(self, category: Category) -> int:
        folder = self._folders.get(folder_name(category.leaf))
        return sum(1 for path in folder.iterdir() if path.is_file()) if folder else 0


class Expected(NamedTuple):
    """What a source is likely to hold: pictures a leaf, so many pixels wide, with benign twins or without."""

    by_leaf: dict[str, int]
    side: int
    twins: bool


def expected_pictures(settings: ImagesConfig, seed: int, categories: Sequence[Category]) -> Expected:
    """What the source of these settings holds, without reading a picture."""
    source = open_source(settings, seed, categories)
    if not isinstance(source, Folder):
        return Expected({category.leaf: settings.per_leaf for category in categories}, world.SIZE, twins=True)
    return Expected({category.leaf: source.count(category) for category in categories}, _USUAL_SIDE, twins=False)


def open_source(settings: ImagesConfig, seed: int, categories: Sequence[Category]) -> Source:
    """The source of these settings, if it has pictures at all for such leaves."""
    if settings.source != "miniature":
        return Folder(Path(settings.source), categories)
    if len(categories) > len(world.NOUNS):
        then = f"give a taxonomy of at most {len(world.NOUNS)} leaves, or a folder of pictures"
        what = f"the miniature cannot draw {len(categories)} leaves"
        raise ConfigError(what, where="images.source = miniature", then=then)
    if settings.smallest_side > world.SIZE:
        what = f"the miniature's pictures are {world.SIZE} pixels wide, and none would be large enough"
        raise ConfigError(what, where=f"images.smallest_side = {settings.smallest_side}", then="lower it")
    return Miniature(seed)
