"""Looks for leaks: pictures, twins or questions that stand, or nearly stand, in more than one split."""

import itertools
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from spavl.dataset.config import LeaksConfig
from spavl.errors import GateError
from spavl.near import near_pictures, near_texts
from spavl.records import Image, Split

# What a model may have learnt from, or been chosen by. Things that are only tested on may be alike, if not equal.
LEARNT: tuple[Split, ...] = ("train", "validation")
# A leak between two splits is mended in the one that stands first here, so the tests stay as they are.
_GIVES_WAY: tuple[Split, ...] = ("train", "validation", "held_out", "test")
_TOLD = 5


class Place(NamedTuple):
    """A picture or a question, and where it stands."""

    kind: str
    id: str
    split: Split
    leaf: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id[:12]} ({self.split}, {self.leaf})"


class Asked(NamedTuple):
    """A question about a picture."""

    id: str
    image_id: str
    text: str


class Placed(NamedTuple):
    """What the audit holds of a picture: all pictures are held at once."""

    place: Place
    blob: str
    phash: int | None
    twin_of: str | None

    @classmethod
    def of(cls, image: Image) -> "Placed":
        place = Place("picture", image.id, sys.intern(image.split), sys.intern(image.leaf))  # type: ignore[arg-type]
        return cls(place, image.blob, int(image.phash, 16) if image.phash else None, image.twin_of)


class Leak(NamedTuple):
    """Two things that are too much alike for the splits they stand in; `one` is the one to give up."""

    reason: str
    one: Place
    other: Place
    how: str

    def as_json(self) -> dict[str, Any]:
        return {"reason": self.reason, "give_up": self.one._asdict(), "keep": self.other._asdict(), "how": self.how}

    def __str__(self) -> str:
        return f"{self.one} and {self.other}: {self.how}"


def find_leaks(images: Iterable[Image], questions: Callable[[], Iterable[Asked]], settings: LeaksConfig) -> list[Leak]:
    """Every leak, each pair once. The questions are gone through twice, since those of training are not held."""
    placed = [Placed.of(image) for image in images]
    found = itertools.chain(
        _equal_pictures(placed),
        _parted_twins(placed),
        _near_pictures(placed, settings.nearer_pictures),
        _near_questions(placed, questions, settings.more_alike_questions),
    )
    # Equal pictures are near ones too; the first word on a pair is the one that says most.
    leaks: dict[tuple[str, str], Leak] = {}
    for leak in found:
        leaks.setdefault((leak.one.id, leak.other.id), leak)
    return list(leaks.values())


def stop_at_leaks(leaks: Sequence[Leak]) -> None:
    """Fail on the first leaks, with their rows named."""
    if not leaks:
        return
    more = f"\n  ... and {len(leaks) - _TOLD} more" if len(leaks) > _TOLD else ""
    named = "".join(f"\n  {leak}" for leak in leaks[:_TOLD])
    raise GateError(
        f"{len(leaks)} {'leak' if len(leaks) == 1 else 'leaks'} between splits:{named}{more}",
        where="dataset.leaks",
        then="--dataset.leaks.drop true leaves the rows named first out; or set what counts as a leak there",
    )


def _leak(reason: str, one: Place, other: Place, how: str) -> Leak:
    first, second = sorted((one, other), key=lambda place: (_GIVES_WAY.index(place.split), place.id))
    return Leak(reason, first, second, how)


def _equal_pictures(images: Sequence[Placed]) -> Iterator[Leak]:
    first_of_blob: dict[str, Placed] = {}
    for image in images:
        other = first_of_blob.setdefault(image.blob, image)
        if other.place.split != image.place.split:
            yield _leak("leak_equal_picture", image.place, other.place, "the same bytes")


def _parted_twins(images: Sequence[Placed]) -> Iterator[Leak]:
    """A benign twin shares its original's scene, so it must share its split too."""
    by_id = {image.place.id: image.place for image in images}
    for image in images:
        original = by_id.get(image.twin_of) if image.twin_of else None
        if original and original.split != image.place.split:
            yield _leak("leak_twin", image.place, original, "twins")


def _near_pictures(images: Sequence[Placed], nearer: int) -> Iterator[Leak]:
    hashed = [(image.place, image.phash) for image in images if image.phash is not None]
    few = [each for each in hashed if each[0].split != "train"]
    for near in near_pictures(few, hashed, nearer):
        one, other = near.one, near.other
        if one.split == other.split or not {one.split, other.split} & set(LEARNT):
            continue
        # Among the few themselves each pair is met twice.
        if other.split == "train" or one.id < other.id:
            yield _leak("leak_near_picture", one, other, f"{near.measure:.0f} of 64 bits differ")


def _near_questions(images: Iterable[Placed], questions: Callable[[], Iterable[Asked]], above: float) -> Iterator[Leak]:
    places = {image.place.id: image.place for image in images}

    def asked(splits: Collection[Split]) -> Iterator[tuple[Place, str]]:
        for question in questions():
            shown = places[question.image_id]
            if shown.split in splits:
                yield Place("question", question.id, shown.split, shown.leaf), question.text

    for near in near_texts(list(asked(_GIVES_WAY[1:])), asked(LEARNT), above):
        if near.one.split != near.other.split:
            yield _leak("leak_near_question", near.other, near.one, f"{near.measure:.0%} of their words are shared")
