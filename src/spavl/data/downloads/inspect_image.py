"""From raw bytes to facts: decode, measure, filter. Runs in a worker, on one shard at a time."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from spavl.data.downloads.config import PicturesConfig
from spavl.data.downloads.filters import Seen, Similarity, filters_of
from spavl.imaging.clip_preprocess import Form, Pixels, shaped
from spavl.imaging.decode import Undecodable, decode
from spavl.imaging.phash import perceptual_hash


class Raw(NamedTuple):
    """A picture as it was fetched, with what its source says of it."""

    data: bytes
    name: str
    caption: str = ""
    similarity: float | None = None


class Look(NamedTuple):
    """A picture that may be used."""

    # None where the bytes held nothing but the picture, so that they need not travel back.
    data: bytes | None
    original: str
    width: int
    height: int
    phash: str
    measures: tuple[str, ...]
    # In the form of the model that is still to score it; None where none is.
    shaped: Pixels | None = None


class Refused(NamedTuple):
    reason: str
    detail: str = ""


def examine(settings: PicturesConfig, shard: Sequence[Raw], form: Form | None = None) -> list[Look | Refused]:
    """`form` is that of a model which is to score pictures whose source does not."""
    return [_examine(settings, raw, form) for raw in shard]


def _examine(settings: PicturesConfig, raw: Raw, form: Form | None) -> Look | Refused:
    try:
        pixels, data = decode(raw.data, raw.name if settings.names_must_match else "")
    except Undecodable as error:
        return Refused(str(error))
    seen = Seen(pixels, raw.caption, raw.similarity)
    to_score = form is not None and raw.similarity is None
    measures: list[str] = []
    for each in filters_of(settings):
        if to_score and isinstance(each, Similarity):
            continue
        measured = each.measure(seen)
        measures.append(f"{each.name}={round(measured, 4):g}")
        if each.refuses(measured):
            return Refused(each.reason, measures[-1])
    try:
        shape = shaped(pixels, form) if form is not None and to_score else None
    except Undecodable as error:
        return Refused(str(error))
    return Look(
        data=None if data == raw.data else data,
        original=hashlib.sha256(raw.data).hexdigest(),
        width=pixels.width,
        height=pixels.height,
        phash=perceptual_hash(pixels),
        measures=tuple(measures),
        shaped=shape,
    )
