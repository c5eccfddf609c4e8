"""Looks for leaks: pictures, twins or questions that stand, or nearly stand, in more than one split."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from spavl.dataset.config import LeaksConfig
from spavl.dataset.near import near_pictures, near_texts
from spavl.errors import GateError
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


def find_leaks(images: Sequence[Image], questions: Iterable[Asked], settings: LeaksConfig) -> list[Leak]:
    """Every leak, each pair once."""
    found = itertools.chain(
        _equal_pictures(images),
        _parted_twins(images),
        _near_pictures(images, settings.nearer_pictures),
        _near_questions(images, questions, settings.more_alike_questions),
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


def _place(image: Image) -> Place:
    return Place("picture", image.id, image.split, image.leaf)


def _equal_pictures(images: Sequence[Image]) -> Iterator[Leak]:
    first_of_blob: dict[str, Image] = {}
    for image in images:
        other = first_of_blob.setdefault(image.blob, image)
        if other.split != image.split:
            yield _leak("leak_equal_picture", _place(image), _place(other), "the same bytes")


def _parted_twins(images: Sequence[Image]) -> Iterator[Leak]:
    """A benign twin shares its original's scene, so it must share its split too."""
    by_id = {image.id: image for image in images}
    for image in images:
        original = by_id.get(image.twin_of) if image.twin_of else None
        if original and original.split != image.split:
            yield _leak("leak_twin", _place(image), _place(original), "twins")


def _near_pictures(images: Sequence[Image], nearer: int) -> Iterator[Leak]:
    hashed = [(_place(image), int(image.phash, 16)) for image in images if image.phash]
    few = [each for each in hashed if each[0].split != "train"]
    for near in near_pictures(few, hashed, nearer):
        one, other = near.one, near.other
        if one.split == other.split or not {one.split, other.split} & set(LEARNT):
            continue
        # Among the few themselves each pair is met twice.
        if other.split == "train" or one.id < other.id:
            yield _leak("leak_near_picture", one, other, f"{near.measure:.0f} of 64 bits differ")


def _near_questions(images: Iterable[Image], questions: Iterable[Asked], above: float) -> Iterator[Leak]:
    by_id = {image.id: image for image in images}
    learnt: list[tuple[Place, str]] = []
    asked: list[tuple[Place, str]] = []
    for question in questions:
        image = by_id[question.image_id]
        side = learnt if image.split in LEARNT else asked
        side.append((Place("question", question.id, image.split, image.leaf), question.text))
    for near in near_texts(asked, learnt, above):
        yield _leak("leak_near_question", near.other, near.one, f"{near.measure:.0%} of their words are shared")
