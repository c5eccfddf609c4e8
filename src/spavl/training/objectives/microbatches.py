"""From a data set to the micro-batches of a step: which samples, which answers of them, and how they are packed.

The order of samples differs between epochs and is the same in every run with one seed.
"""

import io
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapreplace
from itertools import chain, groupby, pairwise
from operator import attrgetter
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from PIL import Image

from spavl.records import Sample
from spavl.training.config import TrainingConfig
from spavl.training.loop import distributed
from spavl.training.model.anatomy import BLANK_SIZE
from spavl.training.prefix_trees.attention import family_of
from spavl.training.prefix_trees.batch import TreeBatch, make_batch
from spavl.training.prefix_trees.logprobs import computing_in
from spavl.training.prefix_trees.startup_checks import check_scores, check_sharing
from spavl.training.prefix_trees.tokenize import CountedRow, ScoredRow, Size, TokenCounter

# One for all questions, so that all share its pass. Its grey says nothing.
BLANK = "blank"
_GREY = (128, 128, 128)


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


T = TypeVar("T")


class SampleOrder:
    """Steps of about so many samples, each sample in one step of an epoch.

    A step of images takes all samples of an image, which then share its pass; only an image that is larger than a step
    is cut. How many samples a step has so varies by about an image's. A step of pairs takes samples at random.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        per_step: int,
        epochs: int,
        seed: int,
        of: Literal["images", "pairs"] = "images",
    ) -> None:
        images = _by_image(samples)
        self.samples = list(chain.from_iterable(images))
        # What is shuffled, and stays together.
        self._units = [part for image in images for part in _parts(image, per_step if of == "images" else 1)]
        self._seed, self._per_epoch = seed, math.ceil(len(samples) / per_step)
        self.steps = self._per_epoch * epochs
        self._dealt, self._steps = -1, list[list[Sample]]()

    def at(self, step: int) -> list[Sample]:
        epoch, place = divmod(step, self._per_epoch)
        if self._dealt != epoch:
            self._dealt, self._steps = epoch, self._deal(random.Random(f"{self._seed}/{epoch}"))
        return self._steps[place]

    def _deal(self, rng: random.Random) -> list[list[Sample]]:
        """An epoch's steps, as even as can be: the largest unit first, each to the step that has least."""
        units, steps = list(self._units), [list[Sample]() for _ in range(self._per_epoch)]
        rng.shuffle(units)
        heap = [(0, place) for place in range(len(steps))]
        for unit in sorted(units, key=len, reverse=True):
            filled, least = heap[0]
            steps[least] += unit
            heapreplace(heap, (filled + len(unit), least))
        # The first of them would always have the largest units.
        rng.shuffle(steps)
        return [list(chain.from_iterable(_by_image(step))) for step in steps]


def _by_image(samples: Sequence[Sample]) -> list[list[Sample]]:
    """In the order in which images are first met."""
    images: dict[str, list[Sample]] = {}
    for sample in samples:
        images.setdefault(sample.blob, []).append(sample)
    return list(images.values())


def _parts(samples: list[T], most: int) -> Iterator[list[T]]:
    """As few as can be of so many at most, and even."""
    number = math.ceil(len(samples) / most)
    edges = [len(samples) * place // number for place in range(number + 1)]
    return (samples[begin:end] for begin, end in pairwise(edges))


class _Piece(NamedTuple, Generic[T]):
    """Samples about one image, by their place in the step."""

    place: int
    samples: list[T]
    tokens: int


def cut(
    samples: Sequence[T],
    tokens: Callable[[Sequence[T]], int],
    most: int,
    processes: int = 1,
    image: Callable[[T], str] = attrgetter("blob"),
) -> list[list[T]]:
    """A step's samples as passes of at most so many tokens, as few and as even as can be.

    An image's samples stay together where they fit; one that is longer by itself is a pass of its own. Processes
    have a pass each, so long as there are images for all.
    """
    images = [list(about) for _, about in groupby(samples, image)]
    found = [part for about in images for part in _fitting(about, tokens, most)]
    pieces = [_Piece(place, *part) for place, part in enumerate(found)]
    number = processes * math.ceil(sum(piece.tokens for piece in pieces) / (most * processes))
    passes = _evenly(pieces, number)
    while number < len(pieces) and any(sum(piece.tokens for piece in each) > most for each in passes):
        number += processes
        passes = _evenly(pieces, number)
    return [[sample for piece in each for sample in piece.samples] for each in passes]


def _evenly(pieces: Sequence[_Piece[T]], number: int) -> list[list[_Piece[T]]]:
    """The longest first, each to whoever has least; then all in the step's order."""
    passes: list[list[_Piece[T]]] = [[] for _ in range(min(number, len(pieces)))]
    heap = [(0, place) for place in range(len(passes))]
    for piece in sorted(pieces, key=lambda piece: -piece.tokens):
        filled, least = heap[0]
        passes[least].append(piece)
        heapreplace(heap, (filled + piece.tokens, least))
    return sorted(sorted(each) for each in passes)


def _fitting(samples: list[T], tokens: Callable[[Sequence[T]], int], most: int) -> Iterator[tuple[list[T], int]]:
    size = tokens(samples)
    if size <= most or len(samples) == 1:
        yield samples, size
        return
    half = len(samples) // 2
    yield from _fitting(samples[:half], tokens, most)
    yield from _fitting(samples[half:], tokens, most)


# Samples of the first step that are looked at before it.
_CHECKED = 8
# The answers to score for some samples.
Answers = Callable[[Sequence[Sample]], Sequence[AnswerToScore | SampledAnswer]]


def chosen_of(samples: Sequence[Sample]) -> list[AnswerToScore]:
    return [AnswerToScore(sample.blob, sample.question, sample.chosen) for sample in samples]


def first_and_longest(order: SampleOrder) -> list[Sample]:
    """Of the first step as many as are looked at before it, and the one with most to read, which goes furthest."""
    longest = max(
        order.samples, key=lambda sample: len(sample.question) + max(len(sample.chosen), len(sample.rejected))
    )
    return [*(sample for sample in order.at(0)[:_CHECKED] if sample is not longest), longest]


def rejected_of(samples: Sequence[Sample]) -> list[AnswerToScore]:
    return [AnswerToScore(sample.blob, sample.question, sample.rejected) for sample in samples]


class PairedTask:
    """What all that is learnt from a data set has in common."""

    def __init__(
        self, batches: BatchMaker, order: SampleOrder, config: TrainingConfig, answers: Answers = chosen_of
    ) -> None:
        self._batches, self._order, self._config, self._answers = batches, order, config, answers
        self.samples, self.epochs, self.steps = order.samples, config.epochs, order.steps

    def computing(self) -> Any:
        """What the loop computes in."""
        return computing_in(self._config.loop.precision, self._batches.model)

    def check(self) -> None:
        """Refuse to train a model which scores samples, or learns from them, otherwise when they share images."""
        with self.computing():
            self._batches.check(self._answers(first_and_longest(self._order)))

    def at(self, number: int) -> list[list[Sample]]:
        """The portions of a step."""
        return self.cut(self.step(number), distributed.how_many())

    def step(self, number: int) -> list[Sample]:
        return self._order.at(number)

    def planned(self, number: int) -> list[Sequence[AnswerToScore | SampledAnswer]]:
        """The answers of each portion of a step."""
        return [self._answers(microbatch) for microbatch in self.at(number)]

    def chosen_tokens(self, step_batches: Sequence[Sequence[Sample]]) -> int:
        """How many tokens the chosen answers of a step have. No image is looked at for it."""
        return sum(self._batches.spoken_tokens(chosen_of(microbatch)) for microbatch in step_batches)

    def batch(self, microbatch: Sequence[Sample]) -> TreeBatch:
        return self._batches.of(self._answers(microbatch))

    def cut(self, samples: Sequence[Sample], among: int = 1) -> list[list[Sample]]:
        def tokens(some: Sequence[Sample]) -> int:
            return self._batches.tokens(self._answers(some))

        return cut(samples, tokens, self._config.max_tokens_per_microbatch, among)
