"""DPO on preference samples: reference log-probabilities once, then the loop."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from spavl.records import Sample
from spavl.training.batch import Batch, count_tokens, make_batch
from spavl.training.config import TrainingConfig
from spavl.training.encode import Row
from spavl.training.loop import Loss
from spavl.training.losses import dpo_loss
from spavl.training.order import Order, cut
from spavl.training.reference import Pair, ReferenceCache
from spavl.training.scoring import Scorer, answer_logprobs, check_sharing, sum_by_answer


class PairBatch(NamedTuple):
    """Chosen answers first, rejected ones after them; never read but through `halves`."""

    rows: Batch
    reference_B: Tensor
    # Of the whole step, of which this is a share.
    pairs: int
    chosen_tokens: int

    @staticmethod
    def halves(values_B: Tensor) -> tuple[Tensor, Tensor]:
        chosen_B, rejected_B = values_B.chunk(2)
        return chosen_B, rejected_B

    @property
    def of_chosen_T(self) -> Tensor:
        return self.rows.answer_T < self.rows.answers // 2


class DPO:
    """What the loop needs to train on preference samples: batches by number, and their loss."""

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
        self.module = Scorer(model)
        self._model, self._processor = model, processor
        self._order = Order(samples, config.pairs_per_step, config.epochs, seed)
        self.samples, self.steps = self._order.samples, self._order.steps
        self._picture, self._config = picture, config
        self._cache = cache
        self.reference: dict[str, Pair] = {} if cache is None else cache.known(self.samples)
        self.unscored = [sample for sample in self.samples if sample.id not in self.reference]

    @torch.no_grad()
    def score_reference(self) -> Iterator[None]:
        """The untrained model's log-probabilities of the answers not in the cache; yields once a pair.

        Must be done before the first step, for the policy is its own reference until then.
        """
        if self._config.share:
            check_sharing(self._model, self._processor, self._rows(self.samples[: self._config.pairs_per_step]))
        for first in range(0, len(self.unscored), self._config.pairs_per_step):
            for samples in self._cut(self.unscored[first : first + self._config.pairs_per_step]):
                chosen_B, rejected_B = PairBatch.halves(answer_logprobs(self._model, self._batch(samples)))
                for sample, chosen, rejected in zip(samples, chosen_B.tolist(), rejected_B.tolist(), strict=True):
                    self.reference[sample.id] = (chosen, rejected)
                if self._cache is not None:
                    self._cache.add(samples, self.reference)
                yield from [None] * len(samples)

    def passes(self, number: int) -> list[PairBatch]:
        samples = self._order.at(number)
        parts = self._cut(samples)
        batches = [self._batch(part) for part in parts]
        chosen_tokens = sum(int((batch.answer_T < batch.answers // 2).sum()) for batch in batches)
        return [
            PairBatch(batch, self._reference_of(part), len(samples), chosen_tokens)
            for batch, part in zip(batches, parts, strict=True)
        ]

    def loss(self, module: Any, batch: PairBatch) -> Loss:
        logprobs_T = module(batch.rows)
        policy = PairBatch.halves(sum_by_answer(logprobs_T, batch.rows))
        reference = PairBatch.halves(batch.reference_B.to(logprobs_T.device))
        settings = self._config.dpo
        result = dpo_loss(*policy, *reference, settings.beta)
        surprise = -logprobs_T[batch.of_chosen_T.to(logprobs_T.device)].sum() / batch.chosen_tokens
        margin_B = result.margin_B.detach()
        metrics = {
            # A margin of nothing is no win: it counts half, as a tie.
            "accuracy": ((margin_B > 0).float() + 0.5 * (margin_B == 0).float()).sum().item() / batch.pairs,
            "margin": margin_B.sum().item() / batch.pairs,
            "chosen_reward": result.chosen_reward_B.sum().item() / batch.pairs,
            "rejected_reward": result.rejected_reward_B.sum().item() / batch.pairs,
            "tokens": batch.rows.tokens,
        }
        return Loss(result.loss_B.sum() / batch.pairs + settings.anchor * surprise, metrics)

    def _cut(self, samples: Sequence[Sample]) -> list[list[Sample]]:
        return cut(samples, self._tokens, self._config.tokens_per_pass)

    def _tokens(self, samples: Sequence[Sample]) -> int:
        return count_tokens(self._model, self._processor, self._rows(samples), self._config.share)

    def _reference_of(self, samples: Sequence[Sample]) -> Tensor:
        pairs = [self.reference[sample.id] for sample in samples]
        return torch.tensor([chosen for chosen, _ in pairs] + [rejected for _, rejected in pairs])

    def _batch(self, samples: Sequence[Sample]) -> Batch:
        return make_batch(self._model, self._processor, self._rows(samples), self._config.share)

    def _rows(self, samples: Sequence[Sample]) -> list[Row]:
        shown = {blob: Image.open(io.BytesIO(self._picture(blob))).convert("RGB") for blob in {s.blob for s in samples}}
        chosen = [Row(sample.blob, shown[sample.blob], sample.question, sample.chosen) for sample in samples]
        return chosen + [row._replace(answer=sample.rejected) for row, sample in zip(chosen, samples, strict=True)]
