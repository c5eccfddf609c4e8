"""overlaps: Item rows and training data -> Overlap rows: what a model may have been trained on."""

import hashlib
import time
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Literal

from spavl.errors import ConfigError
from spavl.evaluation.config import OVERLAPS, AuditConfig
from spavl.evaluation.contamination.training_data import TrainingRow, left_out_of, not_read_of, taught_by
from spavl.evaluation.notes import OverlapsNotes
from spavl.evaluation.records import Item, Overlap
from spavl.imaging.decode import Undecodable, decode
from spavl.imaging.phash import BLANK, perceptual_hash
from spavl.imaging.sendable import NotSendable, rewritten
from spavl.records import Reject
from spavl.stages.context import StageContext
from spavl.stages.finishing import fingerprint_of, seal
from spavl.store import Manifest
from spavl.text.near_duplicates import NearImageIndex, NearTextIndex, words_in_order

# The key of a training row, and the perceptual hash of its image; None if it cannot be decoded.
_Hash = tuple[str, int | None]


async def run(context: StageContext[AuditConfig]) -> Manifest:
    began, settings = time.monotonic(), context.settings
    items = list(context.run.read("items", Item))
    context.run.forget(OVERLAPS.stage)
    rows = list(taught_by(settings.train))
    unread = [row.unread for row in rows if row.unread]
    rows = [row for row in rows if not row.unread]
    images, faults = _taught(context, rows)
    asked = ((row.key, question) for row in reversed(rows) for question in row.questions)
    questions = list({question: (key, question) for key, question in asked}.values())
    own = {blob: _hash(context.run.blobs.get(blob)) for blob in {item.blob for item in items} if blob}
    # The items by image, without images of a single colour, which show nothing.
    shown: dict[str, list[Item]] = {}
    for item in items:
        if item.blob and own[item.blob] != BLANK:
            shown.setdefault(item.blob, []).append(item)
    found = [*_images(settings, shown, own, images), *_questions(settings, items, shown, questions)]
    context.run.write_rows(OVERLAPS.stage, Overlap, found)
    context.run.write_rows(OVERLAPS.stage, Reject, [])
    notes = OverlapsNotes(
        images=len(images),
        questions=len(questions),
        unreadable=sum(each is None for _, each in images.values()),
        without_image=sum(not row.images and not row.fault for row in rows),
        faults=(*_faults_of_files(settings.train, unread), *_faults_of_columns(rows), *faults),
        kinds=dict(Counter(each.kind for each in found)),
        not_compared=tuple(_not_compared(settings, rows, images, questions)),
        blank=tuple(sorted(blob for blob, hashed in own.items() if hashed == BLANK)),
    )
    return seal(context, OVERLAPS, fingerprint_of(context, OVERLAPS), {}, time.monotonic() - began, notes)


def _taught(context: StageContext[AuditConfig], rows: Sequence[TrainingRow]) -> tuple[dict[str, _Hash], list[str]]:
    """The training rows' images by the hash of their bytes, each hashed once, and warnings about unreadable ones."""
    image_list: dict[str, _Hash] = {}
    faults = list[str]()
    with context.screen.bar(OVERLAPS.stage, len(rows)) as bar:
        for row in rows:
            images, fault = _images_of(row)
            faults += [fault] if fault else []
            for data in images:
                digest = hashlib.sha256(data).hexdigest()
                if digest not in image_list:
                    image_list[digest] = row.key, _hash(data)
            bar.advance()
    if faults:
        faults = [f"the images of {len(faults):,} of {len(rows):,} training rows cannot be read, such as: {faults[0]}"]
    if broken := [key for key, hashed in image_list.values() if hashed is None]:
        of = f"{len(broken):,} of {len(image_list):,} training images"
        faults.append(f"{of} cannot be opened, such as that of {broken[0]}")
    return image_list, faults


def _images_of(row: TrainingRow) -> tuple[list[bytes], str]:
    """A row's images, and the first fault of those that cannot be read."""
    found, fault = list[bytes](), row.fault
    for images in row.images:
        try:
            found += images()
        except ConfigError as error:
            fault = fault or f"{error.what} ({error.where})"
    return found, fault


def _not_compared(
    settings: AuditConfig, rows: Sequence[TrainingRow], images: Mapping[str, _Hash], questions: Sequence[object]
) -> Iterator[Literal["image", "question"]]:
    """What no item was compared with: there was nothing to compare it with, though some may have been learned from."""
    is_missing = images or not rows or any(row.fault or "images" in row.unknown for row in rows)
    if is_missing and all(hashed is None for _, hashed in images.values()):
        yield "image"
    if not questions or settings.question_similarity >= 1:
        yield "question"


def _faults_of_files(source: str, unread: Sequence[str]) -> Iterator[str]:
    if others := not_read_of(source):
        yield f"files of the training data are not read, for their formats are not known: {', '.join(others)}"
    if unread:
        yield f"{len(unread):,} files of the training data cannot be read, such as: {unread[0]}"
    if left := left_out_of(source):
        what = "files of the training data are not looked at, for their names are those of other splits"
        yield f"{what}: {', '.join(left)}"


def _faults_of_columns(rows: Sequence[TrainingRow]) -> Iterator[str]:
    """A warning if rows have no known column for images or for questions, or if the images' column is always empty."""
    for what in ("images", "questions"):
        if missing := [row.key for row in rows if what in row.unknown]:
            of = f"{len(missing):,} of {len(rows):,} training rows, such as {missing[0]}"
            yield f"no column is known to hold {what} in {of}"
    if rows and all(not row.images and not row.fault and "images" not in row.unknown for row in rows):
        yield f"none of {len(rows):,} training rows has an image: the cells of their column are empty"


def _images(
    settings: AuditConfig, shown: Mapping[str, list[Item]], own: Mapping[str, int | None], taught: dict[str, _Hash]
) -> Iterator[Overlap]:
    """Items whose image equals a training image, or whose perceptual hash is within a few bits of the nearest one's."""
    # One row for each hash is enough, so that equal images are not compared with each other.
    keys = {hashed: key for key, hashed in reversed(taught.values()) if hashed not in (None, BLANK)}
    known = NearImageIndex(((key, hashed) for hashed, key in keys.items()), settings.near_image_bits)
    for blob, items in shown.items():
        key, bits = taught.get(blob, ("", None))[0], 0
        if not key and (hashed := own[blob]) is not None:
            key, bits = min(known.near(hashed), key=itemgetter(1), default=("", 0))
        if key:
            yield from (Overlap(item_id=item.id, kind="image", taught=key, measure=bits) for item in items)


def _questions(
    settings: AuditConfig, items: list[Item], shown: Container[str], taught: list[tuple[str, str]]
) -> Iterator[Overlap]:
    """Items with the same or nearly the same words as a training question; each text is searched only once."""
    if settings.question_similarity >= 1:
        return
    by_words: dict[str, list[Item]] = {}
    for item in items:
        by_words.setdefault(words_in_order(item.question), []).append(item)
    keys = {words_in_order(text): (key, text) for key, text in reversed(taught)}
    known = NearTextIndex(list(keys.values()), settings.question_similarity)
    for words, asking in by_words.items():
        first = (keys[words][0], 1.0) if words in keys else next(known.near(asking[0].question), None)
        if first is not None:
            for item in asking:
                kind: Literal["wording", "question"] = "wording" if item.blob in shown else "question"
                yield Overlap(item_id=item.id, kind=kind, taught=first[0], measure=first[1])


def _hash(data: bytes) -> int | None:
    try:
        return int(perceptual_hash(decode(rewritten(data)).pixels), 16)
    except (Undecodable, NotSendable):
        return None
