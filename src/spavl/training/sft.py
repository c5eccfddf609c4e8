"""Supervised fine-tuning on the chosen answers alone."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from spavl.progress import Screen
from spavl.records import Sample
from spavl.training.answers import Answer, Batches
from spavl.training.batch import Batch
from spavl.training.config import TrainingConfig
from spavl.training.loop import Loss
from spavl.training.losses import sft_loss
from spavl.training.order import Order, cut
from spavl.training.scoring import Scorer, computing_in


class AnswerBatch(NamedTuple):
    rows: Batch
    # Answer tokens of the whole step, of which this is a share.
    of_step: int


class SFT:
    """What the loop needs to teach chosen answers. One that was chosen over several others is taught once."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        samples: Sequence[Sample],
        picture: Callable[[str], bytes],
        config: TrainingConfig,
        seed: int,
    ) -> None:
        self.module = Scorer(model)
        self._batches = Batches(model, processor, picture, config.share)
        taught = {_answer(sample): sample for sample in samples}
        self._order = Order(list(taught.values()), config.pairs_per_step, config.epochs, seed)
        self.samples, self.steps = self._order.samples, self._order.steps
        self._config = config

    def prepare(self, screen: Screen) -> dict[str, object]:
        with computing_in(self._config.loop.precision, self._batches.model):
            self._batches.check([_answer(sample) for sample in self.samples[: self._config.pairs_per_step]])
        return {"answers": len(self.samples)}

    @property
    def epochs(self) -> int:
        return self._config.epochs

    @property
    def unprepared(self) -> float:
        return 0.0

    def planned(self, number: int) -> list[list[Answer]]:
        return [[_answer(sample) for sample in part] for part in self._cut(self._order.at(number))]

    def prepare_for(self, number: int) -> None:
        """Chosen answers are taught as they are."""

    def passes(self, number: int) -> list[AnswerBatch]:
        batches = [self._batches.of(part) for part in self.planned(number)]
        of_step = sum(len(batch.token_T) for batch in batches)
        return [AnswerBatch(batch, of_step) for batch in batches]

    def loss(self, module: Any, batch: AnswerBatch) -> Loss:
        logprobs_T = module(batch.rows)
        share = len(batch.rows.token_T) / batch.of_step
        return Loss(sft_loss(logprobs_T) * share, {"tokens": batch.rows.tokens})

    def _cut(self, samples: Sequence[Sample]) -> list[list[Sample]]:
        return cut(samples, lambda part: self._batches.tokens(list(map(_answer, part))), self._config.tokens_per_pass)


def _answer(sample: Sample) -> Answer:
    return Answer(sample.blob, sample.question, sample.chosen)
