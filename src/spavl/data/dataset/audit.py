"""Finds leaks: images and twins that are equal or nearly equal in more than one split.

A question leaks together with its image. The same words about different images are no leak: "Describe this image in
detail." asks something else of each. The audit lists each such text once, with the number of questions in each split
that have exactly these words. If no training or validation question has them, it lists the training or validation
text that is nearly the same.

A blank image shows nothing, so a row with one is only its question. Such a question leaks by its words, if both
splits use the same blank image. A blank image of another colour is a different image.

The output does not grow with the number of pairs: each leak and each text is reported once, whatever it matches.
"""

import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from spavl.data.dataset.config import LeaksConfig
from spavl.errors import GateError
from spavl.imaging.phash import BLANK
from spavl.records import Image, Split
from spavl.text.near_duplicates import NearImageIndex, NearTextIndex, words_in_order

# The splits that a model is trained or selected on. Items of the other splits may be similar, but not equal.
TRAINING_SPLITS: tuple[Split, ...] = ("train", "validation")
# Of two leaking splits, the one that comes first here loses its rows, so that the tests stay as they are.
_GIVES_WAY: tuple[Split, ...] = ("train", "validation", "held_out", "test")
_TOLD = 5


class SplitMember(NamedTuple):
    """An image or a question, with its split and leaf."""

    kind: str
    id: str
    split: Split
    leaf: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id[:12]} ({self.split}, {self.leaf})"


class AuditedQuestion(NamedTuple):
    """A question about an image."""

    id: str
    image_id: str
    text: str


class AuditedImage(NamedTuple):
    """The fields of an image that the audit needs; it holds those of all images in memory."""

    place: SplitMember
    blob: str
    phash: int | None
    twin_of: str | None

    @classmethod
    def of(cls, image: Image) -> "AuditedImage":
        place = SplitMember("image", image.id, sys.intern(image.split), sys.intern(image.leaf))  # type: ignore[arg-type]
        return cls(place, image.blob, int(image.phash, 16) if image.phash else None, image.twin_of)


class Leak(NamedTuple):
    """Two items that are too similar to be in different splits; `one` is the one to drop."""

    reason: str
    one: SplitMember
    other: SplitMember
    how: str

    def as_json(self) -> dict[str, Any]:
        return {"reason": self.reason, "give_up": self.one._asdict(), "keep": self.other._asdict(), "how": self.how}

    def __str__(self) -> str:
        return f"{self.one} and {self.other}: {self.how}"


class RepeatedQuestion(NamedTuple):
    """A question that the training or validation split shares with another split, about different images."""

    text: str
    # The number of questions in each split with this text, ignoring case and punctuation.
    asked: dict[Split, int]
    # A training or validation text that is nearly the same, if none is the same; else empty.
    nearly: str = ""

    def as_json(self) -> dict[str, Any]:
        also = {"nearly": self.nearly} if self.nearly else {}
        return {"reason": "repeated_question", "question": self.text, "asked": self.asked, **also}


class LeakAudit(NamedTuple):
    leaks: list[Leak]
    repeated: list[RepeatedQuestion]

    def as_lines(self) -> str:
        """A line for each leak, then one for each repeated question."""
        found = [*(leak.as_json() for leak in self.leaks), *(each.as_json() for each in self.repeated)]
        return "".join(json.dumps(each) + "\n" for each in found)


def find_leaks(
    images: Iterable[Image],
    questions: Callable[[], Iterable[AuditedQuestion]],
    settings: LeaksConfig,
    alike: Callable[[str, Sequence[str]], Iterable[str]] = lambda _, others: others,
) -> LeakAudit:
    """Find the leaks, each item once, and the repeated questions. `questions` is iterated several times, not stored.

    Of images whose hashes are near, `alike` returns the blobs of those that agree in all regions.
    """
    placed = [AuditedImage.of(image) for image in images]
    blank = {image.place.id for image in placed if image.phash == BLANK}
    showing = [image for image in placed if image.place.id not in blank]
    found = itertools.chain(
        _equal_images(showing),
        _parted_twins(placed),
        _near_images(showing, settings.near_image_bits, alike),
    )
    # Equal images are near, too; the first leak found for an image is the most specific one.
    leaks: dict[str, Leak] = {}
    for leak in found:
        leaks.setdefault(leak.one.id, leak)
    # The questions of a leaking image leak with it.
    places = {image.place.id: image for image in placed if image.place.id not in leaks}
    blank_in = _in_both(image for image in placed if image.place.id in blank)

    def placed_questions(of_blank: bool) -> Iterator[tuple[SplitMember, str, str]]:
        """Questions with the blobs of their images: only those about blank images in both splits, or all others."""
        for each in questions():
            if (shown := places.get(each.image_id)) and (shown.blob in blank_in) == of_blank:
                yield SplitMember("question", each.id, shown.place.split, shown.place.leaf), each.text, shown.blob

    above = settings.question_similarity
    alone = _questions_alone(partial(placed_questions, True), above)
    return LeakAudit([*leaks.values(), *alone], list(_repeated_questions(partial(placed_questions, False), above)))


def stop_at_leaks(leaks: Sequence[Leak]) -> None:
    """Raise GateError if there are leaks. The message names the first ones."""
    if not leaks:
        return
    more = f"\n  ... and {len(leaks) - _TOLD} more" if len(leaks) > _TOLD else ""
    named = "".join(f"\n  {leak}" for leak in leaks[:_TOLD])
    raise GateError(
        f"{len(leaks)} {'leak' if len(leaks) == 1 else 'leaks'} between splits:{named}{more}",
        where="dataset.leaks",
        then="--dataset.leaks.drop true leaves the rows named first out; or set what counts as a leak there",
    )


def _leak(reason: str, one: SplitMember, other: SplitMember, how: str) -> Leak:
    first, second = sorted((one, other), key=lambda place: (_GIVES_WAY.index(place.split), place.id))
    return Leak(reason, first, second, how)


def _equal_images(images: Sequence[AuditedImage]) -> Iterator[Leak]:
    """Leaks of images with equal bytes: in each set, all images outside the split that is kept."""
    kept: dict[str, AuditedImage] = {}
    for image in images:
        other = kept.setdefault(image.blob, image)
        if _GIVES_WAY.index(image.place.split) > _GIVES_WAY.index(other.place.split):
            kept[image.blob] = image
    for image in images:
        other = kept[image.blob]
        if other.place.split != image.place.split:
            yield _leak("leak_equal_image", image.place, other.place, "the same bytes")


def _in_both(images: Iterable[AuditedImage]) -> set[str]:
    """The blobs that occur in the training or validation split and in a later split."""
    splits: dict[str, set[Split]] = {}
    for image in images:
        splits.setdefault(image.blob, set()).add(image.place.split)
    return {
        blob
        for blob, own in splits.items()
        if any(own & set(_later(split)) for split in TRAINING_SPLITS if split in own)
    }


def _parted_twins(images: Sequence[AuditedImage]) -> Iterator[Leak]:
    """A benign twin shares its original's scene, so it must share its split too."""
    by_id = {image.place.id: image.place for image in images}
    for image in images:
        original = by_id.get(image.twin_of) if image.twin_of else None
        if original and original.split != image.place.split:
            yield _leak("leak_twin", image.place, original, "twins")


def _near_images(
    images: Sequence[AuditedImage], nearer: int, alike: Callable[[str, Sequence[str]], Iterable[str]]
) -> Iterator[Leak]:
    """Leaks of training and validation images, each with the first near image of a later split."""
    for split in TRAINING_SPLITS:
        # Equal images are indexed once.
        later: dict[int, dict[str, SplitMember]] = {}
        for image in images:
            if image.place.split in _later(split) and image.phash is not None:
                later.setdefault(image.phash, {}).setdefault(image.blob, image.place)
        blobs = {phash: list(places) for phash, places in later.items()}
        known = NearImageIndex(((phash, phash) for phash in later), nearer)
        for image in images:
            if image.place.split == split and image.phash is not None:
                # One call for all: comparing many takes little more time than comparing one.
                near = {blob: (phash, bits) for phash, bits in known.near(image.phash) for blob in blobs[phash]}
                found = (
                    _leak("leak_near_image", image.place, later[phash][blob], f"{bits} of 64 bits differ")
                    for blob in (alike(image.blob, list(near)) if near else ())
                    for phash, bits in [near[blob]]
                )
                yield from itertools.islice(found, 1)


def _questions_alone(asked: Callable[[], Iterable[tuple[SplitMember, str, str]]], above: float) -> Iterator[Leak]:
    """Leaks of training and validation questions, each with the first similar one of a later split on its image."""
    for split in TRAINING_SPLITS if above < 1 else ():
        later: dict[str, dict[str, tuple[SplitMember, str]]] = {}
        for place, text, blob in asked():
            if place.split in _later(split):
                later.setdefault(blob, {})[words_in_order(text)] = place, text
        known = {blob: NearTextIndex(list(texts.values()), above) for blob, texts in later.items()}
        for place, text, blob in asked():
            if place.split == split and blob in known:
                equal = later[blob].get(words_in_order(text))
                for other, alike in [(equal[0], 1.0)] if equal else itertools.islice(known[blob].near(text), 1):
                    yield _leak("leak_near_question", place, other, f"{alike:.0%} of their words are shared")


def _repeated_questions(
    asked: Callable[[], Iterable[tuple[SplitMember, str, str]]], above: float
) -> Iterator[RepeatedQuestion]:
    """The texts outside the training split that a training or validation question repeats, exactly or nearly."""
    if above >= 1:
        return
    # Keyed by their words, so that case and punctuation do not count.
    texts: dict[str, RepeatedQuestion] = {}
    for place, text, _ in asked():
        if place.split != TRAINING_SPLITS[0]:
            texts.setdefault(words_in_order(text), RepeatedQuestion(text, Counter())).asked[place.split] += 1
    for place, text, _ in asked():
        if place.split == TRAINING_SPLITS[0] and (found := texts.get(words_in_order(text))):
            found.asked[TRAINING_SPLITS[0]] += 1
    nearly = dict[str, str]()
    for split in TRAINING_SPLITS:
        known = NearTextIndex(
            [
                (words, found.text)
                for words, found in texts.items()
                if not _is_repeated(found) and words not in nearly and found.asked.keys() & set(_later(split))
            ],
            above,
        )
        for place, text, _ in asked():
            if place.split == split:
                nearly |= dict.fromkeys(known.take(text), text)
    for words, found in texts.items():
        if _is_repeated(found) or words in nearly:
            yield found._replace(nearly=nearly.get(words, ""))


def _is_repeated(found: RepeatedQuestion) -> bool:
    return any(found.asked.keys() & set(_later(split)) for split in TRAINING_SPLITS if split in found.asked)


def _later(split: Split) -> tuple[Split, ...]:
    """The splits that keep their rows if this one leaks into them."""
    return _GIVES_WAY[_GIVES_WAY.index(split) + 1 :]
