"""Answers to score: which image, question and answer; and how many of them become a batch."""

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from PIL import Image

from spavl.training.prefix_trees.batch import TreeBatch, make_batch
from spavl.training.prefix_trees.exactness_check import check_sharing
from spavl.training.prefix_trees.model_support import family_of
from spavl.training.prefix_trees.reference_code_check import check_scores
from spavl.training.prefix_trees.token_counts import CountedRow, Size, TokenCounter
from spavl.training.prefix_trees.tokenize import ScoredRow

# One for all questions, so that all share its pass. Its grey says nothing.
BLANK = "blank"
BLANK_SIZE, _GREY = (336, 336), (128, 128, 128)


class AnswerToScore(NamedTuple):
    """An answer to a question about an image, which is named by the hash of its bytes or is `BLANK`."""

    image: str
    question: str
    text: str


class SampledAnswer(NamedTuple):
    """An answer as the very tokens that a model drew."""

    image: str
    question: str
    text: tuple[int, ...]


class BatchMaker:
    """Makes batches of answers for a model."""

    def __init__(self, model: Any, processor: Any, image: Callable[[str], bytes], share: bool) -> None:
        self.model, self.processor = model, processor
        self._image, self._share = image, share
        self._shares = family_of(model).shares if share else "nothing"
        self._lengths = TokenCounter(processor)
        self._sizes: dict[str, Size] = {BLANK: BLANK_SIZE}

    def of(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> TreeBatch:
        return make_batch(self.model, self.processor, self._rows(answers), self._share)

    def tokens(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> int:
        """How many the model would go through for these answers. No image is decoded for it."""
        rows = (CountedRow(each.image, self._size(each.image), each.question, each.text) for each in answers)
        return self._lengths.count(rows, self._shares).tokens

    def spoken_tokens(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> int:
        """How many tokens of these answers are scored."""
        rows = (self._lengths.row(each.question, each.text) for each in answers)
        return sum(len(row.tokens) - row.answer for row in rows)

    def check(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> None:
        """Refuse to train a model which scores these answers otherwise than its makers' code, or when they share."""
        rows = self._rows(answers)
        check_scores(self.model, self.processor, rows)
        if self._shares != "nothing":
            check_sharing(self.model, self.processor, rows)

    def _rows(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> list[ScoredRow]:
        shown = {name: self.open(name) for name in _once(answer.image for answer in answers)}
        return [ScoredRow(answer.image, shown[answer.image], answer.question, answer.text) for answer in answers]

    def open(self, name: str) -> Image.Image:
        if name == BLANK:
            return Image.new("RGB", BLANK_SIZE, _GREY)
        return Image.open(io.BytesIO(self._image(name))).convert("RGB")

    def _size(self, name: str) -> Size:
        if name not in self._sizes:
            self._sizes[name] = Image.open(io.BytesIO(self._image(name))).size
        return self._sizes[name]


def _once(names: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(names)
