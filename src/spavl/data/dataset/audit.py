"""Finds leaks: images and twins that are equal or nearly equal in more than one split.

A question leaks together with its image. The same words about different images are no leak: "Describe this image in
detail." asks something else of each. Such texts are listed, each once, with how often each split asks it in just these
words; where none does that is learned from, with a text of such a split that is nearly the same. A question
beside a blank image is all there is to its row, so it leaks by its words, where the blank image is the same: one of
another colour is another image.

Nothing here is a product of pairs: what leaks is told once, and so is a text, however many are like it.
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

# What a model may have learned from, or been chosen by. Things that are only tested on may be alike, if not equal.
TRAINING_SPLITS: tuple[Split, ...] = ("train", "validation")
# A leak between two splits is mended in the one that stands first here, so the tests stay as they are.
_GIVES_WAY: tuple[Split, ...] = ("train", "validation", "held_out", "test")
_TOLD = 5


class SplitMember(NamedTuple):
    """An image or a question, and where it stands."""

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
    """What the audit holds of an image: all images are held at once."""

    place: SplitMember
    blob: str
    phash: int | None
    twin_of: str | None

    @classmethod
    def of(cls, image: Image) -> "AuditedImage":
        place = SplitMember("image", image.id, sys.intern(image.split), sys.intern(image.leaf))  # type: ignore[arg-type]
        return cls(place, image.blob, int(image.phash, 16) if image.phash else None, image.twin_of)


class Leak(NamedTuple):
    """Two things that are too much alike for the splits they stand in; `one` is the one to give up."""

    reason: str
    one: SplitMember
    other: SplitMember
    how: str

    def as_json(self) -> dict[str, Any]:
        return {"reason": self.reason, "give_up": self.one._asdict(), "keep": self.other._asdict(), "how": self.how}

    def __str__(self) -> str:
        return f"{self.one} and {self.other}: {self.how}"


class RepeatedQuestion(NamedTuple):
    """A question that a split which is learned from shares with another one, about different images."""

    text: str
    # How many questions of each split are worded so, but for case and marks.
    asked: dict[Split, int]
    # A text that is learned from and nearly the same, where none is that is the same.
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


def audited(
    images: Iterable[Image],
    questions: Callable[[], Iterable[AuditedQuestion]],
    settings: LeaksConfig,
    alike: Callable[[str, Sequence[str]], Iterable[str]] = lambda _, others: others,
) -> LeakAudit:
    """What leaks, each thing once, and what is repeated. The questions are gone through several times, not held.

    Of images whose hashes are near, `alike` tells by their blobs which are near in all their parts.
    """
    placed = [AuditedImage.of(image) for image in images]
    blank = {image.place.id for image in placed if image.phash == BLANK}
    showing = [image for image in placed if image.place.id not in blank]
    found = itertools.chain(
        _equal_images(showing),
        _parted_twins(placed),
        _near_images(showing, settings.near_image_bits, alike),
    )
    # Equal images are near ones too; the first word on an image is the one that says most.
    leaks: dict[str, Leak] = {}
    for leak in found:
        leaks.setdefault(leak.one.id, leak)
    # The questions of a leaking image leak with it.
    places = {image.place.id: image for image in placed if image.place.id not in leaks}
    blank_in = _in_both(image for image in placed if image.place.id in blank)

    def asked(of_blank: bool) -> Iterator[tuple[SplitMember, str, str]]:
        """The questions about blank images that stand in both, with their blobs; or those about all others."""
        for each in questions():
            if (shown := places.get(each.image_id)) and (shown.blob in blank_in) == of_blank:
                yield SplitMember("question", each.id, shown.place.split, shown.place.leaf), each.text, shown.blob

    above = settings.question_similarity
    alone = _questions_alone(partial(asked, True), above)
    return LeakAudit([*leaks.values(), *alone], list(_repeated(partial(asked, False), above)))


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


def _leak(reason: str, one: SplitMember, other: SplitMember, how: str) -> Leak:
    first, second = sorted((one, other), key=lambda place: (_GIVES_WAY.index(place.split), place.id))
    return Leak(reason, first, second, how)


def _equal_images(images: Sequence[AuditedImage]) -> Iterator[Leak]:
    """Of each set of equal bytes, the images of all splits but the one that gives way last."""
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
    """Those that stand in a split that is learned from and in a later one as well, by their bytes."""
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
    """Each image that is learned from with the first one of a later split that is near it."""
    for split in TRAINING_SPLITS:
        # One of equal images is enough.
        later: dict[int, dict[str, SplitMember]] = {}
        for image in images:
            if image.place.split in _later(split) and image.phash is not None:
                later.setdefault(image.phash, {}).setdefault(image.blob, image.place)
        blobs = {phash: list(places) for phash, places in later.items()}
        known = NearImageIndex(((phash, phash) for phash in later), nearer)
        for image in images:
            if image.place.split == split and image.phash is not None:
                # Asked for all at once: many are compared in little more time than one.
                near = {blob: (phash, bits) for phash, bits in known.near(image.phash) for blob in blobs[phash]}
                found = (
                    _leak("leak_near_image", image.place, later[phash][blob], f"{bits} of 64 bits differ")
                    for blob in (alike(image.blob, list(near)) if near else ())
                    for phash, bits in [near[blob]]
                )
                yield from itertools.islice(found, 1)


def _questions_alone(asked: Callable[[], Iterable[tuple[SplitMember, str, str]]], above: float) -> Iterator[Leak]:
    """Each question that is learned from with the first one of a later split about its image that is nearly it."""
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


def _repeated(asked: Callable[[], Iterable[tuple[SplitMember, str, str]]], above: float) -> Iterator[RepeatedQuestion]:
    """Each text of a split that is judged by, if one that is learned from has it or nearly has it."""
    if above >= 1:
        return
    # By their words, so that case and marks make no other text.
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
    """The splits that stay as they are where this one leaks into them."""
    return _GIVES_WAY[_GIVES_WAY.index(split) + 1 :]
