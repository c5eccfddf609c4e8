"""A data set's samples by steps, and a step's in portions that go through the model at once."""

from collections.abc import Callable, Sequence
from typing import Any

from spavl.records import Sample
from spavl.training.config import TrainingConfig
from spavl.training.loop import distributed
from spavl.training.objectives.answers import AnswerToScore, BatchMaker, SampledAnswer
from spavl.training.objectives.batch_sampler import SampleOrder, cut
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import computing_in

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
