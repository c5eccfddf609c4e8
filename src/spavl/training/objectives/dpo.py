"""DPO on preference samples: reference log-probabilities once, then the loop."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spavl.errors import ConfigError
from spavl.records import Contrast, Sample
from spavl.terminal.progress import Screen
from spavl.training.config import PairWeightsConfig, TrainingConfig
from spavl.training.loop.loop import BatchLoss, MicroBatches
from spavl.training.objectives.losses import FORMS, DPOLoss, dpo_loss, look_loss
from spavl.training.objectives.microbatches import (
    BLANK,
    AnswerToScore,
    BatchMaker,
    PairedTask,
    SampleOrder,
    chosen_of,
    rejected_of,
)
from spavl.training.objectives.notes import PreparationNotes
from spavl.training.objectives.reference_cache import ReferenceCache
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import Scorer, answer_lengths, answer_logprobs, sum_by_answer

# Pairs that the reference scores at once, cut into portions.
_AT_ONCE = 8


class PairBatch(NamedTuple):
    """Chosen answers first, rejected ones after them, and then, where looking is asked for, the chosen ones again
    under a blank image; never read but through `split`.
    """

    rows: TreeBatch
    reference_B: Tensor
    weight_P: Tensor
    # Of the whole step, of which this is a share.
    pairs: int
    chosen_tokens: int

    def split(self, values_B: Tensor) -> tuple[Tensor, ...]:
        return values_B.view(-1, len(self.weight_P)).unbind()

    @property
    def of_chosen_T(self) -> Tensor:
        return self.rows.answer_T < len(self.weight_P)


class DPO:
    """What the loop needs to train on preference samples: batches by number, and their loss."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        samples: Sequence[Sample],
        image: Callable[[str], bytes],
        config: TrainingConfig,
        seed: int,
        cache: ReferenceCache | None = None,
    ) -> None:
        self.module = Scorer(model)
        self._settings, self._weights, self._cache = config.dpo, _weights(config.dpo.weights), cache
        order = SampleOrder(_weighty(samples, self._weights), config.batch_size, config.epochs, seed, config.batch_by)
        self.step_batches = PairedTask(
            BatchMaker(model, processor, image, config.share_prefixes), order, config, self._answers
        )
        self.samples, self.steps = order.samples, order.steps
        known = {} if cache is None else cache.known(self._answers(self.samples))
        self.reference = {
            sample.id: tuple(known[answer] for answer in answers)
            for sample in self.samples
            if known.keys() >= set(answers := self._answers([sample]))
        }
        self.unscored = [sample for sample in self.samples if sample.id not in self.reference]

    def prepare(self, screen: Screen) -> PreparationNotes:
        found = len(self.reference)
        with screen.bar("reference", len(self.unscored), unit="pairs") as bar:
            for _ in self.score_reference():
                bar.advance()
        return PreparationNotes(references_from_cache=found)

    @torch.no_grad()
    def score_reference(self) -> Iterator[None]:
        """The untrained model's log-probabilities of the answers not in the cache; yields once a pair.

        Must be done before the first step, for the policy is its own reference until then.
        """
        self.step_batches.check()
        for first in range(0, len(self.unscored), _AT_ONCE):
            yield from self._score(self.step_batches.cut(self.unscored[first : first + _AT_ONCE]))

    @property
    def unprepared(self) -> float:
        """The share of the pairs that `prepare` would have to score."""
        return len(self.unscored) / len(self.samples)

    def prepare_for(self, number: int) -> None:
        """Do for a step's pairs what `prepare` does for all."""
        list(self._score(self.step_batches.at(number)))

    @torch.no_grad()
    def _score(self, step_batches: Sequence[Sequence[Sample]]) -> Iterator[None]:
        for microbatch in step_batches:
            with self.step_batches.computing():
                scores = answer_logprobs(self.module.model, self.step_batches.batch(microbatch)).tolist()
            for place, sample in enumerate(microbatch):
                self.reference[sample.id] = tuple(scores[place :: len(microbatch)])
            if self._cache is not None:
                self._cache.add(dict(zip(self._answers(microbatch), scores, strict=True)))
            yield from [None] * len(microbatch)

    def passes(self, number: int) -> MicroBatches[PairBatch]:
        step_batches = self.step_batches.at(number)
        pairs, tokens = sum(map(len, step_batches)), self.step_batches.chosen_tokens(step_batches)

        def made(microbatch: Sequence[Sample]) -> PairBatch:
            reference_B, weight_P = self._reference_of(microbatch), self._weights_of(microbatch)
            return PairBatch(self.step_batches.batch(microbatch), reference_B, weight_P, pairs, tokens)

        return MicroBatches(step_batches, made)

    def loss(self, module: Any, batch: PairBatch) -> BatchLoss:
        settings = self._settings
        logprobs_T = module(batch.rows)
        policy_B, reference_B = sum_by_answer(logprobs_T, batch.rows), batch.reference_B.to(logprobs_T.device)
        lengths_B = answer_lengths(batch.rows).to(logprobs_T.device)
        apart = ((policy_B.detach() - reference_B) / lengths_B).abs().max()
        if settings.length_normalize:
            policy_B, reference_B = policy_B / lengths_B, reference_B / lengths_B
        chosen_B, rejected_B, *blank_B = batch.split(policy_B)
        reference_chosen_B, reference_rejected_B, *reference_blank_B = batch.split(reference_B)
        result = dpo_loss(
            chosen_B,
            rejected_B,
            reference_chosen_B,
            reference_rejected_B,
            settings.beta,
            FORMS[settings.loss_type],
            settings.label_smoothing,
        )
        weight_P, loss_B = batch.weight_P.to(logprobs_T.device), result.loss_B
        metrics = _metrics(result, batch) | _likelihood(chosen_B, rejected_B, result, settings.beta, batch.pairs)
        if settings.mdpo_weight:
            looked = look_loss(chosen_B, blank_B[0], reference_chosen_B, reference_blank_B[0], settings.beta)
            loss_B = loss_B + settings.mdpo_weight * looked.loss_B
            metrics["look_margin"] = looked.margin_B.sum().item() / batch.pairs
        value = (weight_P * loss_B).sum() / batch.pairs
        if settings.sft_weight:
            surprise = -logprobs_T[batch.of_chosen_T.to(logprobs_T.device)].sum() / batch.chosen_tokens
            value = value + settings.sft_weight * surprise
        return BatchLoss(value, metrics, apart)

    def _answers(self, samples: Sequence[Sample]) -> list[AnswerToScore]:
        chosen = chosen_of(samples)
        unseen = [answer._replace(image=BLANK) for answer in chosen] if self._settings.mdpo_weight else []
        return chosen + rejected_of(samples) + unseen

    def _reference_of(self, samples: Sequence[Sample]) -> Tensor:
        return torch.tensor([self.reference[sample.id] for sample in samples]).T.flatten()

    def _weights_of(self, samples: Sequence[Sample]) -> Tensor:
        return torch.tensor([self._weights[sample.contrast] for sample in samples])


def _weights(config: PairWeightsConfig) -> dict[Contrast, float]:
    return {
        "safety": config.safety,
        "helpfulness": config.helpfulness,
        "both": config.both,
        "unknown": config.unknown,
    }


def _weighty(samples: Sequence[Sample], weights: dict[Contrast, float]) -> list[Sample]:
    """Pairs of no weight are not worth their passes."""
    kept = [sample for sample in samples if weights[sample.contrast]]
    if samples and not kept:
        found = ", ".join(sorted({sample.contrast for sample in samples}))
        what, then = f"all pairs weigh nothing; their contrasts are: {found}", "give one of them a weight above 0"
        raise ConfigError(what, where="training.dpo.weights", then=then)
    return kept


def _metrics(result: DPOLoss, batch: PairBatch) -> dict[str, float]:
    margin_B = result.margin_B.detach()
    return {
        # A margin of nothing is no win: it counts half, as a tie.
        "accuracy": ((margin_B > 0).float() + 0.5 * (margin_B == 0).float()).sum().item() / batch.pairs,
        "margin": margin_B.sum().item() / batch.pairs,
        "chosen_reward": result.chosen_reward_B.sum().item() / batch.pairs,
        "rejected_reward": result.rejected_reward_B.sum().item() / batch.pairs,
        "pairs": len(batch.weight_P),
        "tokens": batch.rows.tokens,
    }


def _likelihood(chosen_B: Tensor, rejected_B: Tensor, result: DPOLoss, beta: float, pairs: int) -> dict[str, float]:
    """How likely the answers are, and how far that is from the reference: its KL if the answers were its own."""
    gained = (result.chosen_reward_B + result.rejected_reward_B).sum().item() / beta
    return {
        "chosen_logprob": chosen_B.sum().item() / pairs,
        "rejected_logprob": rejected_B.sum().item() / pairs,
        "kl": -gained / (2 * pairs),
    }
