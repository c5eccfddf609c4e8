"""Supervised fine-tuning on the chosen answers alone."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from spavl.records import Sample
from spavl.terminal.progress import Screen
from spavl.training.config import TrainingConfig
from spavl.training.loop.loop import BatchLoss, MicroBatches
from spavl.training.objectives.losses import sft_loss
from spavl.training.objectives.microbatches import BatchMaker, PairedTask, SampleOrder, chosen_of
from spavl.training.objectives.notes import PreparationNotes
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import Scorer


class AnswerBatch(NamedTuple):
    rows: TreeBatch
    # Answer tokens of the whole step, of which this is a share.
    of_step: int


class SFT:
    """What the loop needs to teach chosen answers. One that was chosen over several others is taught once."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        samples: Sequence[Sample],
        image: Callable[[str], bytes],
        config: TrainingConfig,
        seed: int,
    ) -> None:
        self.module = Scorer(model)
        taught = {answer: sample for sample, answer in zip(samples, chosen_of(samples), strict=True)}
        order = SampleOrder(list(taught.values()), config.batch_size, config.epochs, seed, config.batch_by)
        self.step_batches = PairedTask(
            BatchMaker(model, processor, image, config.share_prefixes), order, config, chosen_of
        )
        self.steps = order.steps

    def prepare(self, screen: Screen) -> PreparationNotes:
        self.step_batches.check()
        return PreparationNotes(answers=len(self.step_batches.samples))

    def passes(self, number: int) -> MicroBatches[AnswerBatch]:
        step_batches = self.step_batches.at(number)
        of_step = self.step_batches.chosen_tokens(step_batches)
        return MicroBatches(step_batches, lambda microbatch: AnswerBatch(self.step_batches.batch(microbatch), of_step))

    def loss(self, module: Any, batch: AnswerBatch) -> BatchLoss:
        logprobs_T = module(batch.rows)
        share = len(batch.rows.token_T) / batch.of_step
        return BatchLoss(sft_loss(logprobs_T) * share, {"answers": batch.rows.answers, "tokens": batch.rows.tokens})
