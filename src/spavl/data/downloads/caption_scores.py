"""Asks a CLIP or SigLIP model how well pictures show what their captions say: one model, many pictures at a time.

Strangers' bytes are decoded by guarded workers, in a few hundred megabytes each. What comes back from them are pixels
in the model's form. The model may take gigabytes, so it is held once, here, on the GPU if there is one.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from spavl.data.downloads.config import PicturesConfig
from spavl.data.downloads.filters import Similarity
from spavl.data.downloads.inspect_image import Look, Refused
from spavl.engine import Workers
from spavl.engine.workers import Driver
from spavl.imaging.clip import Clip
from spavl.imaging.clip_preprocess import Form, Pixels

_AT_ONCE = 64


class Scored(NamedTuple):
    pixels: Pixels
    caption: str


class Scoring:
    def __init__(self, model: Clip, least: float, workers: Workers) -> None:
        self._filter, self._workers = Similarity(least), workers
        self.form: Form = model.form
        self.commit = model.commit

    async def judge(self, look: Look, caption: str) -> Look | Refused:
        """The same look with its measure, or why it is refused; one whose source gave the likeness stays as it is."""
        if look.shaped is None:
            return look
        # As it is stored: the digits beyond hang on which pictures were scored together.
        measured = round(await self._workers(Scored(look.shaped, caption)), 4)
        told = f"{self._filter.name}={measured:g}"
        if self._filter.refuses(measured):
            return Refused(self._filter.reason, told)
        return look._replace(shaped=None, measures=(*look.measures, told))


@contextlib.asynccontextmanager
async def open_scoring(settings: PicturesConfig) -> AsyncIterator[Scoring | None]:
    """None where no model is to be asked."""
    if settings.least_similarity is None or not settings.similarity_model:
        yield None
        return
    model = Clip(settings.similarity_model, "pictures.similarity_model", "fastest")

    def scores(some: Sequence[Scored]) -> list[float]:
        shown, said = model.pictures([each.pixels for each in some]), model.texts([each.caption for each in some])
        return [float(score) for score in (shown * said).sum(axis=1)]

    workers = Workers(Driver(scores, _AT_ONCE, 1, lambda: None))
    try:
        yield Scoring(model, settings.least_similarity, workers)
    finally:
        workers.close()
