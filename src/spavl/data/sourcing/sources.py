"""Image sources. A source lists, for a leaf, candidates in a fixed order."""

import dataclasses
import os
import unicodedata
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from spavl.data.sourcing import hub
from spavl.data.sourcing.catalogue import Catalogue, SearchHit
from spavl.data.sourcing.config import SourcingConfig
from spavl.data.sourcing.meaning import EmbeddingSearch
from spavl.data.sourcing.readers.entry import RowLimits, SkippedEntry, SourceEntry
from spavl.data.sourcing.readers.flat import caption_in
from spavl.data.sourcing.shards import READABLE, Look, SourceShard, shards_of
from spavl.errors import ConfigError
from spavl.miniature import world
from spavl.records import Candidate, Category
from spavl.stages.privacy import PrivacyConfig
from spavl.store.files import files_under, folder_name, leads_outside
from spavl.terminal.progress import Screen

_THEN = f"give miniature, one folder of images a leaf, files of {', '.join(READABLE)}, or images beside captions"
MINIATURE = "miniature"
_MOST_TOLD = 10_000
# The error and the advice for a source in which nothing can be searched.
_NOTHING = {
    "captions": (
        "no image with a caption in this source",
        "give tables with columns URL and TEXT (or like them), tars with a .txt or .json beside each image, "
        'or sourcing.search_by = "images"',
    ),
    "images": (
        "no image of this source can be looked at",
        'give images on this disk, or vectors beside a table of URLs; or sourcing.search_by = "captions"',
    ),
}


class Source(Protocol):
    def candidates(self, category: Category, most: int) -> Iterator[Candidate | SkippedEntry]:
        """At most `most` candidates, the best first, and the skipped entries."""
        ...

    def twins(self, original: Candidate) -> Iterator[Candidate]:
        """The benign twins of a candidate, if the source has any."""
        ...


class MiniatureSource:
    """Any number of miniature scenes, each with its benign twin."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def candidates(self, category: Category, most: int) -> Iterator[Candidate]:
        noun = world.thing_at(category.position).noun
        for number in range(most):
            found = SourceEntry(f"miniature/{self._seed}/{category.position}/{number}/live", "", "CC0-1.0")
            yield dataclasses.replace(candidate(category, number, found), subject=noun)

    def twins(self, original: Candidate) -> Iterator[Candidate]:
        toy = original.source.removesuffix("live") + "toy"
        yield dataclasses.replace(original, source=toy, harmful=False, twin_of=original.id)


class FolderSource:
    """A folder with one subfolder per leaf, named like the leaf: files in order of name, captions in text files.

    The folders within a leaf's are the leaf's, too, unless they are hidden.
    """

    def __init__(self, path: Path, folders: dict[str, Path], leaves: Container[str]) -> None:
        self._inside, self._folders = path.resolve(), folders
        # Folders whose name is not that of a leaf.
        others = (each.name for each in _folders_at(path) if _plain(each.name) not in leaves)
        self.unmatched = sorted(name for name in others if not name.startswith("."))

    def candidates(self, category: Category, most: int) -> Iterator[Candidate | SkippedEntry]:
        if not (folder := self._folders.get(_plain(category.leaf))):
            return
        rank, is_elsewhere = 0, not folder.resolve().is_relative_to(self._inside)
        found = {Path(file.path): file for file in files_under(folder)}
        files = {path: file for path, file in found.items() if not _is_in_hidden(path, folder)}
        images = {path.with_suffix("") for path in files if path.suffix != ".txt"}
        for path, file in sorted(files.items()):
            if path.suffix == ".txt" and path.with_suffix("") in images:
                continue
            if is_elsewhere or leads_outside(file, self._inside):
                yield SkippedEntry(str(path), "leads_outside")
            elif rank < most:
                said = files.get(path.with_suffix(".txt"))
                yield candidate(
                    category, rank, SourceEntry(f"file:{path}", caption_in(said, self._inside) if said else "")
                )
                rank += 1

    def twins(self, original: Candidate) -> Iterator[Candidate]:
        yield from ()


class Search(Protocol):
    def search(self, terms: Sequence[str], most: int) -> Iterator[SearchHit]: ...

    @property
    def model(self) -> str: ...

    def found_any(self) -> bool: ...

    def skipped_entries(self, most: int) -> list[SkippedEntry]: ...

    def reasons(self) -> dict[str, int]: ...


class SearchedSource:
    """Unsorted images, found with the search terms of each leaf."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self.left_out = search.reasons()
        self.model = search.model

    def candidates(self, category: Category, most: int) -> Iterator[Candidate | SkippedEntry]:
        hits = self._search.search(category.terms or (category.leaf,), most)
        for rank, hit in enumerate(hits):
            yield dataclasses.replace(candidate(category, rank, hit.entry), score=hit.score)
        if category.position == 0:
            yield from self._search.skipped_entries(_MOST_TOLD)

    def twins(self, original: Candidate) -> Iterator[Candidate]:
        yield from ()


class UnsortedSource:
    """Shards of unsorted images. They can be searched after `build_index` has built an index of them."""

    def __init__(self, path: Path, shards: Sequence[SourceShard]) -> None:
        self._path, self._shards = path, shards

    async def build_index(
        self,
        catalogue: Catalogue,
        settings: SourcingConfig,
        folder: Path,
        screen: Screen,
        look: Look,
        privacy: PrivacyConfig,
    ) -> SearchedSource:
        catalogue.build(self._shards, RowLimits(settings.max_unsafe, settings.min_side), screen, look, privacy)
        search: Search = catalogue
        if settings.search_by != "words":
            search = meaning = EmbeddingSearch(catalogue, folder, settings)
            await meaning.build(screen)
        searched = SearchedSource(search)
        if not search.found_any():
            reasons = ", ".join(f"{reason} {count}" for reason, count in searched.left_out.items())
            what, then = _NOTHING["images" if settings.search_by == "images" else "captions"]
            raise ConfigError(f"{what}{f' (left out: {reasons})' if reasons else ''}", where=str(self._path), then=then)
        return searched


def candidate(category: Category, rank: int, found: SourceEntry) -> Candidate:
    return Candidate(
        category_id=category.id,
        leaf=category.leaf,
        rank=rank,
        source=found.source,
        caption=found.caption,
        license=found.license,
        subject=None,
        harmful=True,
        twin_of=None,
        score=None,
        similarity=found.similarity,
        url=found.url,
    )


class HubSource:
    """A data set on a hub that is not downloaded yet."""

    def __init__(self, name: str, max_gb: float) -> None:
        self._name, self._most_gb = name, max_gb

    def fetch_dataset(
        self, folder: Path, categories: Sequence[Category]
    ) -> "tuple[Source | UnsortedSource, hub.HubDataset]":
        fetched = hub.fetch(self._name, folder, self._most_gb)
        return _on_disk(fetched.place, categories), fetched


def is_missing(settings: SourcingConfig) -> bool:
    """Whether the source is a path on this disk that does not exist."""
    return (
        not settings.source.startswith(hub.PREFIX)
        and settings.source != MINIATURE
        and not Path(settings.source).exists()
    )


def open_source(
    settings: SourcingConfig, seed: int, categories: Sequence[Category]
) -> Source | UnsortedSource | HubSource:
    """Open the source of these settings; raises ConfigError if it cannot serve these leaves. Reads no image yet."""
    _check_search(settings)
    source = _source_of_settings(settings, seed, categories)
    if settings.search_by != "words" and not isinstance(source, UnsortedSource | HubSource):
        then = "leave sourcing.search_by and search_model out, or give images that are not sorted"
        raise ConfigError("its images are sorted by leaf, so none is searched for", where=settings.source, then=then)
    return source


def _source_of_settings(
    settings: SourcingConfig, seed: int, categories: Sequence[Category]
) -> Source | UnsortedSource | HubSource:
    if settings.source.startswith(hub.PREFIX):
        return HubSource(settings.source, settings.max_gb)
    if settings.source != MINIATURE:
        return _on_disk(Path(settings.source), categories)
    if len(categories) > len(world.NOUNS):
        then = f"give a taxonomy of at most {len(world.NOUNS)} leaves, or a folder of images"
        what = f"the miniature cannot draw {len(categories)} leaves"
        raise ConfigError(what, where="sourcing.source = miniature", then=then)
    return MiniatureSource(seed)


def _on_disk(path: Path, categories: Sequence[Category]) -> Source | UnsortedSource:
    if not path.exists():
        raise ConfigError("there is no such folder of images, and no such file", where=str(path), then=_THEN)
    if path.is_dir():
        leaves = {_plain(category.leaf) for category in categories}
        folders = _folders_in(path, leaves)
        if leaves & folders.keys():
            return FolderSource(path, folders, leaves)
    if shards := shards_of(path):
        return UnsortedSource(path, shards)
    what = (
        f"no folder in it is named as a leaf, such as {folder_name(categories[0].leaf)!r}, and it has no tables or tars"
    )
    raise ConfigError(what, where=str(path), then=_THEN)


def _folders_in(path: Path, leaves: Container[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for each in _folders_at(path):
        name = _plain(each.name)
        if (twin := found.setdefault(name, each)) is not each and name in leaves:
            what = f"two folders have the same name but for capitals: {twin.name!r} and {each.name!r}"
            raise ConfigError(what, where=str(path), then="put the images of both into one of them")
    return found


def _folders_at(path: Path) -> list[Path]:
    # There may be very many images beside them. `scandir` returns the type of each entry without a further call.
    with os.scandir(path) as listed:
        return sorted(Path(each.path) for each in listed if each.is_dir())


def _is_in_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts[:-1])


def _plain(name: str) -> str:
    """The key by which leaf and folder names are compared. It ignores case and the Unicode form of letters like ä."""
    return folder_name(unicodedata.normalize("NFC", name)).casefold()


def _check_search(settings: SourcingConfig) -> None:
    if settings.search_by != "words" and not settings.search_model:
        then = "set sourcing.search_model to a CLIP or SigLIP model, or for captions to one of sentence-transformers"
        what = f"{settings.search_by} are searched with a model, and none is named"
        raise ConfigError(what, where=f"sourcing.search_by = {settings.search_by}", then=then)
    if settings.search_by == "words" and settings.search_model:
        then = 'set sourcing.search_by = "captions" or "images", or leave search_model out'
        raise ConfigError("words are searched without a model", where="sourcing.search_model", then=then)
