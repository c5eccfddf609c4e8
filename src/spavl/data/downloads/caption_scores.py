"""Similarity of images and captions by a CLIP or SigLIP model, in batches.

Sandboxed workers decode the untrusted images, with a few hundred megabytes of memory each, and return pixels that are
preprocessed for the model. The model may take gigabytes, so it is loaded once, here, and on the GPU if there is one.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.filters import SimilarityFilter
from spavl.data.downloads.inspect_image import InspectedImage, RefusedImage
from spavl.engine import Workers
from spavl.engine.driver import Driver
from spavl.imaging.clip import Clip
from spavl.imaging.clip_preprocess import ClipPreprocess, Pixels

_AT_ONCE = 64


class CaptionedImage(NamedTuple):
    pixels: Pixels
    caption: str


class CaptionScorer:
    def __init__(self, model: Clip, least: float, workers: Workers) -> None:
        self._filter, self._workers = SimilarityFilter(least), workers
        self.form: ClipPreprocess = model.form
        self.commit = model.commit

    async def judge(self, look: InspectedImage, caption: str) -> InspectedImage | RefusedImage:
        """Add the similarity to the image's measures, or refuse it. Unchanged if its source gave a similarity."""
        if look.shaped is None:
            return look
        # Rounded as it is stored: further digits depend on which images are in the same batch.
        measured = round(await self._workers(CaptionedImage(look.shaped, caption)), 4)
        told = f"{self._filter.name}={measured:g}"
        if self._filter.refuses(measured):
            return RefusedImage(self._filter.reason, told)
        return look._replace(shaped=None, measures=(*look.measures, told))


@contextlib.asynccontextmanager
async def open_scoring(settings: DownloadsConfig) -> AsyncIterator[CaptionScorer | None]:
    """Open the scorer; yields None if the settings name no model or no minimum similarity."""
    if settings.min_similarity is None or not settings.similarity_model:
        yield None
        return
    model = Clip(settings.similarity_model, "downloads.similarity_model", "fastest")

    def scores(some: Sequence[CaptionedImage]) -> list[float]:
        shown, said = model.images([each.pixels for each in some]), model.texts([each.caption for each in some])
        return [float(score) for score in (shown * said).sum(axis=1)]

    workers = Workers(Driver(scores, _AT_ONCE, 1, lambda: None))
    try:
        yield CaptionScorer(model, settings.min_similarity, workers)
    finally:
        workers.close()
