"""Decodes, measures and filters images. Runs in a worker, on one shard at a time."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.filters import FilterInput, RegionFilter, SimilarityFilter, filters_of
from spavl.imaging.clip_preprocess import ClipPreprocess, Pixels, resize_and_crop
from spavl.imaging.cover import cover
from spavl.imaging.decode import Undecodable, decode, encode_pixels, kind_of
from spavl.imaging.phash import perceptual_hash


class FetchedImage(NamedTuple):
    """An image as it was fetched, with its source's metadata."""

    data: bytes
    name: str
    caption: str = ""
    similarity: float | None = None


class InspectedImage(NamedTuple):
    """An image that passed the filters."""

    # The cleaned bytes; None if cleaning changed nothing, so that they need not be sent back from the worker.
    data: bytes | None
    original: str
    width: int
    height: int
    phash: str
    measures: tuple[str, ...]
    # Preprocessed for the model that has yet to score it; None if no model will.
    shaped: Pixels | None = None


class RefusedImage(NamedTuple):
    reason: str
    detail: str = ""


def examine(
    settings: DownloadsConfig, shard: Sequence[FetchedImage], form: ClipPreprocess | None = None
) -> list[InspectedImage | RefusedImage]:
    """Inspect a shard of images. `form` is the preprocessing of the model that scores images without a similarity."""
    return [_examine(settings, raw, form) for raw in shard]


def _examine(
    settings: DownloadsConfig, raw: FetchedImage, form: ClipPreprocess | None
) -> InspectedImage | RefusedImage:
    try:
        pixels, data = decode(raw.data, raw.name if settings.extension_must_match else "")
    except Undecodable as error:
        return RefusedImage(str(error))
    seen = FilterInput(pixels, raw.caption, raw.similarity)
    to_score = form is not None and raw.similarity is None
    measures: list[str] = []
    filters = filters_of(settings)
    for each in filters:
        if to_score and isinstance(each, SimilarityFilter):
            continue
        measured = each.measure(seen)
        measures.append(f"{each.name}={round(measured, 4):g}")
        if each.refuses(measured):
            return RefusedImage(each.reason, measures[-1])
    hidden = [box for each in filters if isinstance(each, RegionFilter) for box in each.regions(seen)]
    if hidden:
        # From here on nothing is made of the pixels that are covered.
        pixels = cover(pixels, hidden)
        data = encode_pixels(pixels, kind_of(data))
    try:
        shape = resize_and_crop(pixels, form) if form is not None and to_score else None
    except Undecodable as error:
        return RefusedImage(str(error))
    return InspectedImage(
        data=None if data == raw.data else data,
        original=hashlib.sha256(raw.data).hexdigest(),
        width=pixels.width,
        height=pixels.height,
        phash=perceptual_hash(pixels),
        measures=tuple(measures),
        shaped=shape,
    )
