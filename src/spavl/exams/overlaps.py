"""overlaps: Item rows and training data -> Overlap rows: what a model may have been trained on."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from spavl.benchmarks.records import Item, Overlap
from spavl.errors import ConfigError
from spavl.exams.config import OVERLAPS, AuditConfig
from spavl.exams.training_data import Taught, taught_by
from spavl.imaging.decode import Undecodable, decode
from spavl.imaging.phash import perceptual_hash
from spavl.near import near_pictures, near_texts
from spavl.records import Reject
from spavl.stage import Job, fingerprint_of, seal
from spavl.store import Manifest

# A training row's picture by the hash of its bytes, with its perceptual hash if it can be decoded.
_Hash = tuple[str, int | None]


async def run(job: Job[AuditConfig]) -> Manifest:
    began, settings = time.monotonic(), job.settings
    items = list(job.run.read("items", Item))
    job.run.forget(OVERLAPS.stage)
    rows = list(taught_by(settings.train))
    pictures, faults = _taught(job, rows)
    questions = list({row.question: (row.key, row.question) for row in reversed(rows) if row.question}.values())
    found = [*_pictures(job, items, pictures), *_questions(settings, items, questions)]
    job.run.write_rows(OVERLAPS.stage, Overlap, found)
    job.run.write_rows(OVERLAPS.stage, Reject, [])
    notes: dict[str, object] = {
        "pictures": len(pictures),
        "questions": len(questions),
        "unreadable": sum(each is None for _, each in pictures.values()),
        "without_picture": sum(row.images is None and not row.fault for row in rows),
        "faults": [*_faults_of_columns(rows), *faults],
        "kinds": dict(Counter(each.kind for each in found)),
    }
    return seal(job, OVERLAPS, fingerprint_of(job, OVERLAPS), {}, time.monotonic() - began, notes)


def _taught(job: Job[AuditConfig], rows: Sequence[Taught]) -> tuple[dict[str, _Hash], list[str]]:
    """The training rows' pictures, each looked at once; and what of them cannot be read."""
    pictures: dict[str, _Hash] = {}
    faults = list[str]()
    with job.screen.bar(OVERLAPS.stage, len(rows)) as bar:
        for row in rows:
            images, fault = _images_of(row)
            faults += [fault] if fault else []
            for data in images:
                digest = hashlib.sha256(data).hexdigest()
                if digest not in pictures:
                    pictures[digest] = row.key, _hash(data)
            bar.advance()
    told = f"the images of {len(faults):,} of {len(rows):,} training rows cannot be read, such as: "
    return pictures, [told + faults[0]] if faults else []


def _images_of(row: Taught) -> tuple[tuple[bytes, ...], str]:
    """A row's images, and what is wrong with them if they cannot be read."""
    try:
        return (row.images() if row.images else ()), row.fault
    except ConfigError as error:
        return (), f"{error.what} ({error.where})"


def _faults_of_columns(rows: Sequence[Taught]) -> Iterator[str]:
    """A line for images and for questions that are looked for in no column, or in one that is empty throughout."""
    for what in ("images", "questions"):
        if missing := [row.key for row in rows if what in row.unknown]:
            of = f"{len(missing):,} of {len(rows):,} training rows, such as {missing[0]}"
            yield f"no column is known to hold {what} in {of}"
    if rows and all(row.images is None and not row.fault and "images" not in row.unknown for row in rows):
        yield f"none of {len(rows):,} training rows has an image: the cells of their column are empty"


def _pictures(job: Job[AuditConfig], items: list[Item], taught: dict[str, _Hash]) -> Iterator[Overlap]:
    """Equal pictures, and those whose perceptual hashes differ in few bits; of several the nearest."""
    by_blob: dict[str, list[Item]] = {}
    for item in items:
        if item.blob:
            by_blob.setdefault(item.blob, []).append(item)
    hashed = [(blob, own) for blob in by_blob if (own := _hash(job.run.blobs.get(blob))) is not None]
    many = ((key, own) for key, own in taught.values() if own is not None)
    nearest = {blob: (taught[blob][0], 0.0) for blob in by_blob if blob in taught}
    for near in near_pictures(hashed, many, job.settings.nearer_pictures):
        # The few come first in a pair, whichever was met first.
        if near.measure < nearest.get(near.one, ("", 65.0))[1]:
            nearest[near.one] = near.other, near.measure
    for blob, (key, bits) in nearest.items():
        for item in by_blob[blob]:
            yield Overlap(item_id=item.id, kind="picture", taught=key, measure=bits)


def _questions(settings: AuditConfig, items: list[Item], taught: list[tuple[str, str]]) -> Iterator[Overlap]:
    asked = [(item.id, item.question) for item in items]
    best: dict[str, tuple[str, float]] = {}
    for near in near_texts(asked, taught, settings.more_alike_questions):
        if near.measure > best.get(near.one, ("", 0.0))[1]:
            best[near.one] = near.other, near.measure
    for item_id, (key, share) in best.items():
        yield Overlap(item_id=item_id, kind="question", taught=key, measure=share)


def _hash(data: bytes) -> int | None:
    try:
        return int(perceptual_hash(decode(data).pixels), 16)
    except Undecodable:
        return None
