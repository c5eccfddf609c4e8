"""Supervised fine-tuning on the chosen answers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from spavl.records import Sample
from spavl.terminal.progress import Screen
from spavl.training.loop.loop import BatchLoss, MicroBatches
from spavl.training.objectives.losses import sft_loss
from spavl.training.objectives.microbatches import BatchMaker, SampleOrder, StepBatches, chosen_of
from spavl.training.objectives.notes import PreparationNotes
from spavl.training.objectives.registry import Objective, ObjectiveInputs
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import Scorer


class AnswerBatch(NamedTuple):
    rows: TreeBatch
    # Answer tokens of the whole step, of which this batch is a part.
    step_tokens: int


class SFT(Objective[AnswerBatch]):
    """Trains on the chosen answers. An answer that was chosen over several others is used once."""

    reads = ("chosen",)
    step_batches: StepBatches

    def __init__(self, inputs: ObjectiveInputs) -> None:
        config = inputs.settings
        self.module = Scorer(inputs.model)
        by_answer = {answer: sample for sample, answer in zip(inputs.samples, chosen_of(inputs.samples), strict=True)}
        order = SampleOrder(list(by_answer.values()), config.batch_size, config.epochs, inputs.seed, config.batch_by)
        batches = BatchMaker(inputs.model, inputs.processor, inputs.image, config.share_prefixes)
        self.step_batches = StepBatches(batches, order, config, chosen_of)
        self.steps = order.steps

    def prepare(self, screen: Screen) -> PreparationNotes:
        self.step_batches.check()
        return PreparationNotes(answers=len(self.step_batches.samples))

    def microbatches(self, number: int) -> MicroBatches[AnswerBatch]:
        step = self.step_batches.at(number)
        step_tokens = self.step_batches.chosen_tokens(step)

        def batch_of(samples: Sequence[Sample]) -> AnswerBatch:
            return AnswerBatch(self.step_batches.batch(samples), step_tokens)

        return MicroBatches(step, batch_of)

    def loss(self, module: Any, batch: AnswerBatch) -> BatchLoss:
        logprob_T = module(batch.rows)
        fraction = len(batch.rows.token_T) / batch.step_tokens
        metrics = {"answers": batch.rows.answers, "tokens": batch.rows.tokens}
        return BatchLoss(sft_loss(logprob_T) * fraction, metrics)
