"""DPO on preference samples: reference log-probabilities once, then the loop."""

import io
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from spavl.records import Sample
from spavl.training.batch import Batch, Row, answer_logprobs, answer_token_logprobs, make_batch, sum_by_row
from spavl.training.config import TrainingConfig
from spavl.training.loop import Loss
from spavl.training.losses import dpo_loss, sft_loss


class PairBatch(NamedTuple):
    """Chosen answers in the first half of the rows, rejected ones in the second; never read but through `halves`."""

    rows: Batch
    reference_B: Tensor

    @staticmethod
    def halves(logprobs_B: Tensor) -> tuple[Tensor, Tensor]:
        chosen_B, rejected_B = logprobs_B.chunk(2)
        return chosen_B, rejected_B


class DPO:
    """What the loop needs to train on preference samples: batches by number, and the objective."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        samples: Sequence[Sample],
        picture: Callable[[str], bytes],
        config: TrainingConfig,
        seed: int,
    ) -> None:
        self._model, self._processor, self.samples = model, processor, samples
        self._picture, self._config, self._seed = picture, config, seed
        self._per_epoch = math.ceil(len(samples) / config.pairs_per_step)
        self.steps = self._per_epoch * config.epochs
        self.reference: dict[str, tuple[float, float]] = {}

    @torch.no_grad()
    def score_reference(self) -> Iterator[None]:
        """The untrained model's log-probabilities of all answers, before it is trained; yields once a batch."""
        for first in range(0, len(self.samples), self._config.pairs_per_step):
            samples = self.samples[first : first + self._config.pairs_per_step]
            chosen_B, rejected_B = PairBatch.halves(answer_logprobs(self._model, self._rows(samples)))
            for sample, chosen, rejected in zip(samples, chosen_B.tolist(), rejected_B.tolist(), strict=True):
                self.reference[sample.id] = (chosen, rejected)
            yield

    def batch_at(self, number: int) -> PairBatch:
        """The samples of a step: another order each epoch, the same in every run with this seed."""
        epoch, place = divmod(number, self._per_epoch)
        order = list(self.samples)
        random.Random(f"{self._seed}/{epoch}").shuffle(order)
        samples = order[place * self._config.pairs_per_step : (place + 1) * self._config.pairs_per_step]
        reference = [self.reference[sample.id] for sample in samples]
        scores = [chosen for chosen, _ in reference] + [rejected for _, rejected in reference]
        return PairBatch(self._rows(samples), torch.tensor(scores))

    def objective(self, batch: PairBatch) -> Loss:
        logprobs_T = answer_token_logprobs(self._model, batch.rows)
        policy = PairBatch.halves(sum_by_row(logprobs_T, batch.rows))
        result = dpo_loss(*policy, *PairBatch.halves(batch.reference_B), self._config.beta)
        chosen_T = logprobs_T[batch.rows.row_T < batch.rows.rows // 2]
        margin_B = result.margin_B.detach()
        metrics = {
            # A margin of nothing is no win: it counts half, as a tie.
            "accuracy": ((margin_B > 0).float() + 0.5 * (margin_B == 0).float()).mean().item(),
            "margin": margin_B.mean().item(),
            "chosen_reward": result.chosen_reward_B.mean().item(),
            "rejected_reward": result.rejected_reward_B.mean().item(),
        }
        return Loss(result.loss + self._config.anchor * sft_loss(chosen_T), metrics)

    def _rows(self, samples: Sequence[Sample]) -> Batch:
        pictures = [Image.open(io.BytesIO(self._picture(sample.blob))).convert("RGB") for sample in samples]
        asked = list(zip(pictures, samples, strict=True))
        rows = [Row(picture, sample.question, sample.chosen) for picture, sample in asked]
        rows += [Row(picture, sample.question, sample.rejected) for picture, sample in asked]
        return make_batch(self._processor, rows)
