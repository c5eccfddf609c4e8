"""DPO on preference samples: reference log-probabilities once, then the loop."""

import io
import math
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from spavl.records import Sample
from spavl.training.batch import (
    Batch,
    answer_logprobs,
    answer_token_logprobs,
    check_sharing,
    make_batch,
    sum_by_answer,
)
from spavl.training.config import TrainingConfig
from spavl.training.encode import Row
from spavl.training.loop import Loss
from spavl.training.losses import dpo_loss, sft_loss
from spavl.training.reference import Pair, ReferenceCache


class PairBatch(NamedTuple):
    """Chosen answers first, rejected ones after them; never read but through `halves`."""

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
        cache: ReferenceCache | None = None,
    ) -> None:
        self._model, self._processor = model, processor
        self._pictures: dict[str, list[Sample]] = {}
        for sample in samples:
            self._pictures.setdefault(sample.blob, []).append(sample)
        self.samples = list(chain.from_iterable(self._pictures.values()))
        self._picture, self._config, self._seed = picture, config, seed
        self._per_epoch = math.ceil(len(samples) / config.pairs_per_step)
        self.steps = self._per_epoch * config.epochs
        self._cache = cache
        self.reference: dict[str, Pair] = {} if cache is None else cache.known(self.samples)
        self.unscored = [sample for sample in self.samples if sample.id not in self.reference]
        self._ordered, self._order = -1, self.samples

    @torch.no_grad()
    def score_reference(self) -> Iterator[None]:
        """The untrained model's log-probabilities of the answers not in the cache; yields once a batch.

        Must be done before the first step, for the policy is its own reference until then.
        """
        if self._config.share:
            check_sharing(self._model, self._processor, self._rows(self.samples[: self._config.pairs_per_step]))
        for first in range(0, len(self.unscored), self._config.pairs_per_step):
            samples = self.unscored[first : first + self._config.pairs_per_step]
            chosen_B, rejected_B = PairBatch.halves(answer_logprobs(self._model, self._batch(samples)))
            for sample, chosen, rejected in zip(samples, chosen_B.tolist(), rejected_B.tolist(), strict=True):
                self.reference[sample.id] = (chosen, rejected)
            if self._cache is not None:
                self._cache.add(samples, self.reference)
            yield

    def batch_at(self, number: int) -> PairBatch:
        """The samples of a step: another order each epoch, the same in every run with this seed."""
        epoch, place = divmod(number, self._per_epoch)
        if self._ordered != epoch:
            self._ordered, self._order = epoch, self.in_epoch(epoch)
        samples = self._order[place * self._config.pairs_per_step : (place + 1) * self._config.pairs_per_step]
        reference = [self.reference[sample.id] for sample in samples]
        scores = [chosen for chosen, _ in reference] + [rejected for _, rejected in reference]
        return PairBatch(self._batch(samples), torch.tensor(scores))

    def in_epoch(self, epoch: int) -> list[Sample]:
        """The order of an epoch: pictures are shuffled, and a picture's pairs stay together to share its pass."""
        pictures = list(self._pictures.values())
        random.Random(f"{self._seed}/{epoch}").shuffle(pictures)
        return list(chain.from_iterable(pictures))

    def objective(self, batch: PairBatch) -> Loss:
        logprobs_T = answer_token_logprobs(self._model, batch.rows)
        policy = PairBatch.halves(sum_by_answer(logprobs_T, batch.rows))
        result = dpo_loss(*policy, *PairBatch.halves(batch.reference_B), self._config.beta)
        chosen_T = logprobs_T[batch.rows.answer_T.to(logprobs_T.device) < batch.rows.answers // 2]
        margin_B = result.margin_B.detach()
        metrics = {
            # A margin of nothing is no win: it counts half, as a tie.
            "accuracy": ((margin_B > 0).float() + 0.5 * (margin_B == 0).float()).mean().item(),
            "margin": margin_B.mean().item(),
            "chosen_reward": result.chosen_reward_B.mean().item(),
            "rejected_reward": result.rejected_reward_B.mean().item(),
        }
        return Loss(result.loss + self._config.anchor * sft_loss(chosen_T), metrics)

    def _batch(self, samples: Sequence[Sample]) -> Batch:
        return make_batch(self._model, self._processor, self._rows(samples), self._config.share)

    def _rows(self, samples: Sequence[Sample]) -> list[Row]:
        shown = {blob: Image.open(io.BytesIO(self._picture(blob))).convert("RGB") for blob in {s.blob for s in samples}}
        chosen = [Row(sample.blob, shown[sample.blob], sample.question, sample.chosen) for sample in samples]
        return chosen + [row._replace(answer=sample.rejected) for row, sample in zip(chosen, samples, strict=True)]
