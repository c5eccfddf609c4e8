"""What a run would ask, told by its rooms before anything is sent.

Each room that asks models has an `estimate.py` with one function a stage, named as the stage:

    async def questions(outlook: Outlook[QuestionsConfig]) -> list[Many[Question]]:
        for image, times in outlook.read("selection", Image):
            written = await write(outlook.open(outlook.settings.writer, times, words=25), ...)
            rows.append(Many(Question(...), times))

It does to a few rows what the stage does to all, with the stage's own prompts, and gives the rows
that the stages after it will read. Where an earlier stage is finished, those are its true rows;
where not, they are rows that stand for many, made up by the room that would write them.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from spavl.models.backends.dry_run import CallTally, CostCountingFactory
from spavl.models.image_tokens import stand_in
from spavl.models.model_settings import NONE, ModelSettings
from spavl.models.types import ChatModel, ImageData
from spavl.records import Image, Record
from spavl.stages.subset import few
from spavl.store import RunFolder

R = TypeVar("R", bound=Record)
C = TypeVar("C", bound=BaseModel)

# So many rows are gone through one by one; of more, an even sample stands for all.
_MOST_ROWS = 20_000
_TO_BE_FOUND = "to be found: "


class Weighted(NamedTuple, Generic[R]):
    """A row, and how many like it there are to be."""

    row: R
    times: float


class CostLine(NamedTuple):
    """What one model is asked in one stage: likely and at most."""

    stage: str
    model: str
    likely: CallTally
    most: CallTally


class CostEstimate(NamedTuple):
    lines: list[CostLine]
    done: list[str]
    spent_usd: float
    # What must be there before it can be built, and is not.
    missing: list[str]


Estimate = Callable[["CostContext[Any]"], Awaitable[list[Weighted[Any]]]]


@dataclass(frozen=True, slots=True)
class CostContext(Generic[C]):
    """What a room is given to tell its calls: its settings, the rows so far, and models that only count."""

    stage: str
    settings: C
    seed: int
    run: RunFolder
    models: CostCountingFactory
    # Rows of the stages that are not finished, by their stage.
    expected: dict[str, list[Weighted[Any]]]
    limit: int | None

    def read(self, stage: str, kind: type[R]) -> list[Weighted[R]]:
        """The rows of an earlier stage: the true ones if it is finished, else the expected ones."""
        if stage in self.expected:
            return self.expected[stage]
        return [Weighted(row, 1.0) for row in self.run.read(stage, kind)]

    def trial(self, images: Sequence[Weighted[Image]]) -> list[Weighted[Image]]:
        """The images, without their twins, that a run with this limit goes on with."""
        originals = [many for many in images if many.row.twin_of is None]
        if self.limit is None:
            return originals
        if not any(is_stand_in(image) for image, _ in originals):
            return [Weighted(image, 1.0) for image in few((image for image, _ in originals), self.limit)]
        share = min(1.0, self.limit / sum(times for _, times in originals))
        return [Weighted(image, times * share) for image, times in originals]

    def open(self, uri: str, times: float, words: float, own: ModelSettings = NONE) -> ChatModel:
        """A model each call to which stands for `times`, and is taken to be answered in so many words."""
        return self.counting(times, words).open(uri, self.stage, own)

    def counting(self, times: float, words: float) -> CostCountingFactory:
        self.models.times, self.models.words = times, words
        return self.models

    def image(self, image: Image) -> ImageData:
        """The image of a row, or one of its size."""
        if is_stand_in(image):
            return ImageData(image.id, stand_in(image.width, image.height).data)
        return ImageData(image.blob, self.run.blobs.get(image.blob))


def stand_in_blob(split: str) -> str:
    """The name of an image that is still to be found."""
    return f"{_TO_BE_FOUND}{split}"


def is_stand_in(image: Image) -> bool:
    return image.blob.startswith(_TO_BE_FOUND)


def thin(rows: Sequence[Weighted[R]], most: int = _MOST_ROWS) -> list[Weighted[R]]:
    """An even sample that stands for all."""
    if len(rows) <= most:
        return list(rows)
    step = len(rows) / most
    return [Weighted(row, times * step) for row, times in (rows[int(place * step)] for place in range(most))]
