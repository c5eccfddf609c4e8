"""Makes the micro-batches of a step from a data set: chooses samples and their answers, and packs them.

The order of samples differs between epochs and is the same in every run with one seed.
"""

import io
import math
import random
from collections.abc import Callable, Iterator, Sequence
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
from spavl.training.prefix_trees.tree import CountedRow, ScoredRow, Size, TokenCounter

# The name of a gray image. All questions share it, and so its pass through the vision tower.
BLANK = "blank"
_GREY = (128, 128, 128)


class AnswerToScore(NamedTuple):
    """An answer to a question about an image. `image` is the hash of its bytes, or `BLANK`."""

    image: str
    question: str
    text: str


class SampledAnswer(NamedTuple):
    """An answer as the tokens that a model sampled."""

    image: str
    question: str
    text: tuple[int, ...]


class BatchMaker:
    """Makes the batches of a model from answers."""

    def __init__(self, model: Any, processor: Any, image: Callable[[str], bytes], share: bool) -> None:
        self.model, self.processor = model, processor
        self._image, self._share = image, share
        self._shares = family_of(model).shares if share else "nothing"
        self._lengths = TokenCounter(processor)
        self._sizes: dict[str, Size] = {BLANK: BLANK_SIZE}

    def of(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> TreeBatch:
        return make_batch(self.model, self.processor, self._rows(answers), self._share)

    def tokens(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> int:
        """The number of tokens that the model processes for these answers. No image is decoded for it."""
        rows = (CountedRow(each.image, self._size(each.image), each.question, each.text) for each in answers)
        return self._lengths.count(rows, self._shares).tokens

    def answer_tokens(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> int:
        """The number of answer tokens, which are the ones that are scored."""
        rows = (self._lengths.row(each.question, each.text) for each in answers)
        return sum(len(row.tokens) - row.answer for row in rows)

    def check(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> None:
        """Refuse a model that scores these answers differently from its own code, or when they share images."""
        rows = self._rows(answers)
        check_scores(self.model, self.processor, rows)
        if self._shares != "nothing":
            check_sharing(self.model, self.processor, rows)

    def _rows(self, answers: Sequence[AnswerToScore | SampledAnswer]) -> list[ScoredRow]:
        images = {name: self.open(name) for name in {answer.image for answer in answers}}
        return [ScoredRow(answer.image, images[answer.image], answer.question, answer.text) for answer in answers]

    def open(self, name: str) -> Image.Image:
        if name == BLANK:
            return Image.new("RGB", BLANK_SIZE, _GREY)
        return Image.open(io.BytesIO(self._image(name))).convert("RGB")

    def _size(self, name: str) -> Size:
        if name not in self._sizes:
            self._sizes[name] = Image.open(io.BytesIO(self._image(name))).size
        return self._sizes[name]


T = TypeVar("T")


class SampleOrder:
    """The samples of each step, shuffled in each epoch. Each sample is in one step of an epoch.

    `of="images"` keeps all samples of an image in one step, so that they share its vision pass; only an image with more
    samples than a step is split. So the number of samples per step varies by about those of one image. `of="pairs"`
    shuffles single samples.
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
        # Shuffled as a whole: the samples of an image, or single samples.
        self._units = [part for image in images for part in _parts(image, per_step if of == "images" else 1)]
        self._seed, self._per_epoch = seed, math.ceil(len(samples) / per_step)
        self.steps = self._per_epoch * epochs
        self._shuffled_epoch, self._steps = -1, list[list[Sample]]()

    def at(self, step: int) -> list[Sample]:
        epoch, place = divmod(step, self._per_epoch)
        if self._shuffled_epoch != epoch:
            self._shuffled_epoch, self._steps = epoch, self._shuffle(random.Random(f"{self._seed}/{epoch}"))
        return self._steps[place]

    def _shuffle(self, rng: random.Random) -> list[list[Sample]]:
        """The steps of an epoch, of equal size as far as possible: largest unit first, each to the smallest step."""
        units, steps = list(self._units), [list[Sample]() for _ in range(self._per_epoch)]
        rng.shuffle(units)
        heap = [(0, place) for place in range(len(steps))]
        for unit in sorted(units, key=len, reverse=True):
            filled, least = heap[0]
            steps[least] += unit
            heapreplace(heap, (filled + len(unit), least))
        # Without this the first steps would always have the largest units.
        rng.shuffle(steps)
        return [list(chain.from_iterable(_by_image(step))) for step in steps]


def _by_image(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples of each image, in the order in which the images first occur."""
    images: dict[str, list[Sample]] = {}
    for sample in samples:
        images.setdefault(sample.blob, []).append(sample)
    return list(images.values())


def _parts(samples: list[T], most: int) -> Iterator[list[T]]:
    """As few parts as possible of at most `most` samples, as equal in size as possible."""
    number = math.ceil(len(samples) / most)
    edges = [len(samples) * place // number for place in range(number + 1)]
    return (samples[begin:end] for begin, end in pairwise(edges))


class _Piece(NamedTuple, Generic[T]):
    """Samples of one image, by their place in the step."""

    place: int
    samples: list[T]
    tokens: int


def pack_by_tokens(
    samples: Sequence[T],
    tokens: Callable[[Sequence[T]], int],
    most: int,
    processes: int = 1,
    image: Callable[[T], str] = attrgetter("blob"),
) -> list[list[T]]:
    """The samples of a step as micro-batches of at most `most` tokens: as few and as equal as possible.

    The samples of an image stay together if they fit. A single sample with more tokens is a micro-batch of its own.
    There is a micro-batch for each process, if there are enough images.
    """
    images = [list(about) for _, about in groupby(samples, image)]
    found = [part for about in images for part in _split(about, tokens, most)]
    pieces = [_Piece(place, *part) for place, part in enumerate(found)]
    number = processes * math.ceil(sum(piece.tokens for piece in pieces) / (most * processes))
    packed = _distribute(pieces, number)
    while number < len(pieces) and any(sum(piece.tokens for piece in each) > most for each in packed):
        number += processes
        packed = _distribute(pieces, number)
    return [[sample for piece in each for sample in piece.samples] for each in packed]


def _distribute(pieces: Sequence[_Piece[T]], number: int) -> list[list[_Piece[T]]]:
    """Longest piece first, each to the micro-batch with the fewest tokens; then all in the order of the step."""
    packed: list[list[_Piece[T]]] = [[] for _ in range(min(number, len(pieces)))]
    heap = [(0, place) for place in range(len(packed))]
    for piece in sorted(pieces, key=lambda piece: -piece.tokens):
        filled, least = heap[0]
        packed[least].append(piece)
        heapreplace(heap, (filled + piece.tokens, least))
    return sorted(sorted(each) for each in packed)


def _split(samples: list[T], tokens: Callable[[Sequence[T]], int], most: int) -> Iterator[tuple[list[T], int]]:
    size = tokens(samples)
    if size <= most or len(samples) == 1:
        yield samples, size
        return
    half = len(samples) // 2
    yield from _split(samples[:half], tokens, most)
    yield from _split(samples[half:], tokens, most)


# The number of samples of the first step that are checked before training.
_CHECKED = 8
# The answers of some samples that an objective scores.
AnswersOf = Callable[[Sequence[Sample]], Sequence[AnswerToScore | SampledAnswer]]


def chosen_of(samples: Sequence[Sample]) -> list[AnswerToScore]:
    return [AnswerToScore(sample.blob, sample.question, sample.chosen) for sample in samples]


def samples_to_check(order: SampleOrder) -> list[Sample]:
    """Some samples of the first step, and the longest sample of all, whose positions reach furthest."""
    longest = max(
        order.samples, key=lambda sample: len(sample.question) + max(len(sample.chosen), len(sample.rejected))
    )
    return [*(sample for sample in order.at(0)[:_CHECKED] if sample is not longest), longest]


def rejected_of(samples: Sequence[Sample]) -> list[AnswerToScore]:
    return [AnswerToScore(sample.blob, sample.question, sample.rejected) for sample in samples]


class StepBatches:
    """The steps of an objective whose answers come from the data set."""

    def __init__(
        self, batches: BatchMaker, order: SampleOrder, config: TrainingConfig, answers_of: AnswersOf = chosen_of
    ) -> None:
        self._batches, self._order, self._config, self._answers_of = batches, order, config, answers_of
        self.samples, self.steps_per_epoch = order.samples, -(-order.steps // config.epochs)

    def computing(self) -> Any:
        """The autocast in which the loop computes."""
        return computing_in(self._config.loop.precision, self._batches.model)

    def check(self) -> None:
        """Check the model on some samples; see `BatchMaker.check`."""
        with self.computing():
            self._batches.check(self._answers_of(samples_to_check(self._order)))

    def at(self, number: int) -> list[list[Sample]]:
        """The micro-batches of a step."""
        return self.pack(self.step(number), distributed.process_count())

    def step(self, number: int) -> list[Sample]:
        return self._order.at(number)

    def answers_at(self, number: int) -> list[Sequence[AnswerToScore | SampledAnswer]]:
        """The answers of each micro-batch of a step."""
        return [self._answers_of(microbatch) for microbatch in self.at(number)]

    def chosen_tokens(self, microbatches: Sequence[Sequence[Sample]]) -> int:
        """The number of tokens of the chosen answers of a step. No image is opened for it."""
        return sum(self._batches.answer_tokens(chosen_of(samples)) for samples in microbatches)

    def batch(self, microbatch: Sequence[Sample]) -> TreeBatch:
        return self._batches.of(self._answers_of(microbatch))

    def pack(self, samples: Sequence[Sample], among: int = 1) -> list[list[Sample]]:
        def tokens(some: Sequence[Sample]) -> int:
            return self._batches.tokens(self._answers_of(some))

        return pack_by_tokens(samples, tokens, self._config.max_tokens_per_microbatch, among)
