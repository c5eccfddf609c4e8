"""Estimates what a run would ask and pay, before anything is sent.

Each stage that asks models has an `estimate.py` with one function, named as the stage:

    async def questions(context: CostContext[QuestionsConfig]) -> list[WeightedRow[Question]]:
        for image, weight in context.read("selection", Image):
            written = await write(context.open(context.settings.writer, weight, words=25), ...)
            rows.append(WeightedRow(Question(...), weight))

It does for a few rows what the stage does for all of them, with the prompts of the stage, and returns the rows that
later stages will read. If an earlier stage is finished, its rows are read from disk; if not, its own estimate has made
example rows, each of which stands for many.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from spavl.models.backends.dry_run import CallTally, CostCountingFactory
from spavl.models.image_tokens import stand_in
from spavl.models.model_settings import NONE, ModelSettings
from spavl.models.types import ChatModel, ImageData
from spavl.records import Image, Record
from spavl.stages.subset import subsample_images
from spavl.store import RunFolder

R = TypeVar("R", bound=Record)
C = TypeVar("C", bound=BaseModel)

# The largest number of rows that are estimated one by one; of more, a random sample stands for all.
_MAX_ROWS = 20_000
# The blob of an image that is not downloaded yet begins with this.
_TO_BE_FOUND = "to be found: "


class WeightedRow(NamedTuple, Generic[R]):
    """A row, and how many rows of the run it stands for."""

    row: R
    times: float


class CostLine(NamedTuple):
    """The calls of one stage to one model: the likely ones and the most there can be."""

    stage: str
    model: str
    likely: CallTally
    most: CallTally


class CostEstimate(NamedTuple):
    lines: list[CostLine]
    done: list[str]
    spent_usd: float
    # Files and servers that the run needs and that are missing.
    missing: list[str]


Estimate = Callable[["CostContext[Any]"], Awaitable[list[WeightedRow[Any]]]]


@dataclass(frozen=True, slots=True)
class CostContext(Generic[C]):
    """What the estimate of a stage is given: its settings, the rows so far, and models that only count calls."""

    stage: str
    settings: C
    seed: int
    run: RunFolder
    models: CostCountingFactory
    # Example rows of the unfinished stages, by stage.
    expected: dict[str, list[WeightedRow[Any]]]
    limit: int | None

    def read(self, stage: str, kind: type[R]) -> list[WeightedRow[R]]:
        """The rows of an earlier stage: those on disk if it is finished, else the example rows."""
        if stage in self.expected:
            return self.expected[stage]
        return [WeightedRow(row, 1.0) for row in self.run.read(stage, kind)]

    def subset(self, images: Sequence[WeightedRow[Image]]) -> list[WeightedRow[Image]]:
        """The images, without their twins, that a run with this limit uses."""
        originals = [weighted for weighted in images if weighted.row.twin_of is None]
        if self.limit is None:
            return originals
        if not any(is_stand_in(image) for image, _ in originals):
            return [
                WeightedRow(image, 1.0) for image in subsample_images((image for image, _ in originals), self.limit)
            ]
        share = min(1.0, self.limit / sum(times for _, times in originals))
        return [WeightedRow(image, times * share) for image, times in originals]

    def open(self, uri: str, times: float, words: float, own: ModelSettings = NONE) -> ChatModel:
        """A model that counts each call `times` times and assumes replies of `words` words."""
        return self.counting(times, words).open(uri, self.stage, own)

    def counting(self, times: float, words: float) -> CostCountingFactory:
        """A factory of models that count each call `times` times and assume replies of `words` words."""
        return self.models.with_weight(times, words)

    def image(self, image: Image) -> ImageData:
        """The image of a row, or a stand-in of the same size."""
        if is_stand_in(image):
            return ImageData(image.id, stand_in(image.width, image.height).data)
        return ImageData(image.blob, self.run.blobs.get(image.blob))


def stand_in_blob(split: str) -> str:
    """The blob of an image that is not downloaded yet."""
    return f"{_TO_BE_FOUND}{split}"


def is_stand_in(image: Image) -> bool:
    return image.blob.startswith(_TO_BE_FOUND)


def subsample_rows(rows: Sequence[WeightedRow[R]], most: int = _MAX_ROWS) -> list[WeightedRow[R]]:
    """At most `most` rows in their order, drawn at random; their weights add up to those of all rows.

    Rows at equal distances would not do: kinds of questions and responders take turns.
    """
    if len(rows) <= most:
        return list(rows)
    drawn = [rows[place] for place in sorted(random.Random(0).sample(range(len(rows)), most))]
    scale = sum(times for _, times in rows) / sum(times for _, times in drawn)
    return [WeightedRow(row, times * scale) for row, times in drawn]
