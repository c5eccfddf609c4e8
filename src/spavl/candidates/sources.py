"""Where pictures may come from. A source lists, for a leaf, candidates in a fixed order."""

import dataclasses
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from spavl.errors import ConfigError
from spavl.miniature import world
from spavl.records import Candidate, Category
from spavl.store.files import folder_name


class Source(Protocol):
    def candidates(self, category: Category) -> Iterator[Candidate]: ...

    def twins(self, original: Candidate) -> Iterator[Candidate]:
        """The same thing where it does no harm, if the source has it."""
        ...


class Miniature:
    """As many scenes as are asked for, each with its benign twin."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def candidates(self, category: Category) -> Iterator[Candidate]:
        noun, number = world.thing_at(category.position).noun, 0
        while True:
            yield Candidate(
                category_id=category.id,
                leaf=category.leaf,
                rank=number,
                source=f"miniature/{self._seed}/{category.position}/{number}/live",
                caption="",
                license="CC0-1.0",
                subject=noun,
                harmful=True,
                twin_of=None,
                score=None,
            )
            number += 1

    def twins(self, original: Candidate) -> Iterator[Candidate]:
        toy = original.source.removesuffix("live") + "toy"
        yield dataclasses.replace(original, source=toy, harmful=False, twin_of=original.id)


class Folder:
    """A folder with one folder a leaf, named as the leaf; files in the order of their names."""

    def __init__(self, path: Path, categories: Sequence[Category]) -> None:
        then = "give a folder that holds one folder a leaf, or miniature"
        if not path.is_dir():
            raise ConfigError("there is no such folder of pictures", where=str(path), then=then)
        # Some disks take names apart, ä into a and two dots; ours are whole.
        self._folders = {unicodedata.normalize("NFC", each.name): each for each in path.iterdir() if each.is_dir()}
        if not any(folder_name(category.leaf) in self._folders for category in categories):
            what = f"no folder in it is named as a leaf, such as {folder_name(categories[0].leaf)!r}"
            raise ConfigError(what, where=str(path), then=then)

    def candidates(self, category: Category) -> Iterator[Candidate]:
        if not (folder := self._folders.get(folder_name(category.leaf))):
            return
        for rank, file in enumerate(sorted(path for path in folder.iterdir() if path.is_file())):
            yield Candidate(
                category_id=category.id,
                leaf=category.leaf,
                rank=rank,
                source=f"file:{file}",
                caption="",
                license="unknown",
                subject=None,
                harmful=True,
                twin_of=None,
                score=None,
            )

    def twins(self, original: Candidate) -> Iterator[Candidate]:
        yield from ()


def open_source(source: str, seed: int, categories: Sequence[Category]) -> Source:
    """The source of this name, if it has pictures at all for such leaves."""
    if source != "miniature":
        return Folder(Path(source), categories)
    if len(categories) > len(world.NOUNS):
        then = f"give a taxonomy of at most {len(world.NOUNS)} leaves, or a folder of pictures"
        what = f"the miniature cannot draw {len(categories)} leaves"
        raise ConfigError(what, where="candidates.source = miniature", then=then)
    return Miniature(seed)
