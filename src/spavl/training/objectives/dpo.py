"""Direct preference optimization and related losses on pairs of answers, most of them against a reference.

The log-probabilities of answers under the untrained model, the reference, are scored once and cached on disk. A cached
value depends on the files of the model (its revision covers weights, processor and chat template), in bfloat16 on which
of its weights are trained, on the bytes of the image, the tokens of question and answer, and the code that scores them.
All of these are in its key, so that no cached value becomes outdated.
The features of a frozen vision tower are not cached: see docs/performance.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, split, tensor

from spavl.errors import ConfigError
from spavl.models.backends.hf import checkpoint_name
from spavl.models.factory import checkpoint_path
from spavl.records import Contrast, Sample, content_hash
from spavl.store.sqlite import connect
from spavl.terminal.progress import Screen
from spavl.training.config import PairWeightsConfig, TrainingConfig
from spavl.training.loop.loop import BatchLoss, MicroBatches
from spavl.training.model.trainable import float32_weight_names, frozen_dtype
from spavl.training.objectives.losses import LOSS_TYPES, PairLoss, PairScores, mdpo_loss
from spavl.training.objectives.microbatches import (
    BLANK,
    AnswerToScore,
    BatchMaker,
    SampleOrder,
    StepBatches,
    chosen_of,
    rejected_of,
)
from spavl.training.objectives.notes import PreparationNotes
from spavl.training.objectives.registry import Objective, ObjectiveInputs
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import Scorer, answer_lengths, answer_logprobs, sum_by_answer
from spavl.training.prefix_trees.tree import TokenCounter

REFERENCE_CACHE = "references.sqlite"
# Part of every key. Raise the first number when the code gives other scores for the same images and tokens.
_VERSION = (3, transformers.__version__)
# Pairs that are packed into micro-batches together.
_PAIRS_AT_ONCE = 8

PairAnswersOf = Callable[[Sequence[Sample]], Sequence[AnswerToScore]]


class ReferenceCache:
    """Log-probabilities of answers under one model, kept for every later run."""

    def __init__(self, path: Path, model: str, processor: Any) -> None:
        self._model, self._row = model, TokenCounter(processor).row
        self._database = connect(path)
        self._database.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, logprob REAL)")

    def cached_scores(self, answers: Iterable[AnswerToScore]) -> dict[AnswerToScore, float]:
        """The scores of those answers that are in the cache."""
        found = {}
        for answer in answers:
            row = self._database.execute("SELECT logprob FROM answers WHERE key = ?", [self._key(answer)])
            if (score := row.fetchone()) is not None:
                found[answer] = score[0]
        return found

    def add(self, scores: Mapping[AnswerToScore, float]) -> None:
        rows = [(self._key(answer), score) for answer, score in scores.items()]
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)

    def close(self) -> None:
        self._database.close()

    def _key(self, answer: AnswerToScore) -> str:
        return content_hash([_VERSION, self._model, answer.image, self._row(answer.question, answer.text)])


def reference_name(settings: TrainingConfig, model: Any) -> str:
    """A name of all that the scores of the reference depend on, besides the answers.

    In bfloat16 they also depend on which weights are trained, and so kept in float32, and on whether rows share a
    prefix: both change the rounding.
    """
    bits = " in four bits" if settings.trainable.language == "qlora" else ""
    name = f"{checkpoint_name(checkpoint_path(settings.model))} {frozen_dtype(settings)}{bits}"
    if settings.loop.precision != "bf16":
        return name
    return f"{name} {content_hash([float32_weight_names(model), settings.share_prefixes])}"


class ReferenceScores:
    """The reference log-probabilities of the answers of each sample.

    All samples must be scored before the first optimizer step: until then the policy itself is the reference.
    """

    def __init__(
        self, model: Any, step_batches: StepBatches, answers_of: PairAnswersOf, cache: ReferenceCache | None
    ) -> None:
        self._model, self._step_batches, self._answers_of, self._cache = model, step_batches, answers_of, cache
        samples = step_batches.samples
        known = {} if cache is None else cache.cached_scores(answers_of(samples))
        # By the sample's id; in the order of `answers_of([sample])`.
        self.by_sample: dict[str, tuple[float, ...]] = {
            sample.id: tuple(known[answer] for answer in answers)
            for sample in samples
            if known.keys() >= set(answers := answers_of([sample]))
        }
        self.missing = [sample for sample in samples if sample.id not in self.by_sample]

    def score_missing(self) -> Iterator[None]:
        """Score the samples that were not in the cache; yields once a sample."""
        for first in range(0, len(self.missing), _PAIRS_AT_ONCE):
            yield from self.score(self._step_batches.pack(self.missing[first : first + _PAIRS_AT_ONCE]))

    @torch.no_grad()
    def score(self, microbatches: Sequence[Sequence[Sample]]) -> Iterator[None]:
        for samples in microbatches:
            with self._step_batches.computing():
                score_B = answer_logprobs(self._model, self._step_batches.batch(samples))
            # Answers come kind by kind, each kind in the order of the samples: [kinds, samples] -> [samples, kinds].
            by_sample = torch.stack(torch.split(score_B, len(samples)), dim=1).tolist()
            self.by_sample |= {sample.id: tuple(own) for sample, own in zip(samples, by_sample, strict=True)}
            if self._cache is not None:
                self._cache.add(dict(zip(self._answers_of(samples), score_B.tolist(), strict=True)))
            yield from [None] * len(samples)

    def of(self, samples: Sequence[Sample]) -> Tensor:
        """[B] in the order of the answers of these samples: kind by kind."""
        by_sample = torch.tensor([self.by_sample[sample.id] for sample in samples])
        return by_sample.T.flatten()


class AnswerScores(NamedTuple):
    """Log-probabilities of the answers of some pairs, kind by kind. mDPO also scores chosen answers under a blank
    image."""

    chosen_P: Tensor
    rejected_P: Tensor
    blank_P: Tensor | None = None

    @property
    def of_pairs(self) -> PairScores:
        return PairScores(self.chosen_P, self.rejected_P)


class PairBatch(NamedTuple):
    """Some pairs of a step. The answers in `rows` come kind by kind: all chosen ones, then all rejected ones, then for
    mDPO the chosen ones again under a blank image."""

    rows: TreeBatch
    # The reference's log-probability of each answer; None for a loss without a reference.
    reference_B: Tensor | None
    weight_P: Tensor
    # The totals of the whole step, of which this batch is a part.
    pairs: int
    chosen_tokens: int

    def by_kind(self, value_B: Tensor) -> AnswerScores:
        return AnswerScores(*split(value_B, len(self.weight_P)))

    @property
    def is_chosen_T(self) -> Tensor:
        """Whether each answer token belongs to a chosen answer with its image."""
        return self.rows.answer_T < len(self.weight_P)


class DPO(Objective[PairBatch]):
    """Trains on pairs. `dpo.loss_type` names the loss, which also determines whether a reference is needed."""

    step_batches: StepBatches

    def __init__(self, inputs: ObjectiveInputs) -> None:
        config = inputs.settings
        self.module = Scorer(inputs.model)
        self._settings, self._loss_type = config.dpo, LOSS_TYPES[config.dpo.loss_type]
        self._weights = _weights(config.dpo.weights)
        samples = self.validation_samples(inputs.samples, config)
        if inputs.samples and not samples:
            found = ", ".join(sorted({sample.contrast for sample in inputs.samples}))
            what, then = f"every pair has weight 0; contrasts in the data: {found}", "give one of them a weight above 0"
            raise ConfigError(what, where="training.dpo.weights", then=then)
        order = SampleOrder(samples, config.batch_size, config.epochs, inputs.seed, config.batch_by)
        batches = BatchMaker(inputs.model, inputs.processor, inputs.image, config.share_prefixes)
        self.step_batches = StepBatches(batches, order, config, self._answers)
        self.samples, self.steps = order.samples, order.steps
        self._needs_reference = self._loss_type.needs_reference or bool(config.dpo.mdpo_weight)
        cache = inputs.cache if self._needs_reference else None
        self.reference = ReferenceScores(inputs.model, self.step_batches, self._answers, cache)

    @classmethod
    def validation_samples(cls, samples: Sequence[Sample], settings: TrainingConfig) -> Sequence[Sample]:
        """The pairs with a weight above 0."""
        weights = _weights(settings.dpo.weights)
        return [sample for sample in samples if weights[sample.contrast]]

    def prepare(self, screen: Screen) -> PreparationNotes:
        self.step_batches.check()
        if not self._needs_reference:
            return PreparationNotes()
        cached = len(self.reference.by_sample)
        with screen.bar("reference", len(self.reference.missing), unit="pairs") as bar:
            for _ in self.reference.score_missing():
                bar.advance()
        return PreparationNotes(references_from_cache=cached)

    @property
    def unprepared_share(self) -> float:
        return len(self.reference.missing) / len(self.samples) if self._needs_reference else 0.0

    def prepare_step(self, number: int) -> None:
        if self._needs_reference:
            _exhaust(self.reference.score(self.step_batches.at(number)))

    def microbatches(self, number: int) -> MicroBatches[PairBatch]:
        step = self.step_batches.at(number)
        pairs, chosen_tokens = sum(map(len, step)), self.step_batches.chosen_tokens(step)

        def batch_of(samples: Sequence[Sample]) -> PairBatch:
            reference_B = self.reference.of(samples) if self._needs_reference else None
            weight_P = tensor([self._weights[sample.contrast] for sample in samples])
            return PairBatch(self.step_batches.batch(samples), reference_B, weight_P, pairs, chosen_tokens)

        return MicroBatches(step, batch_of)

    def loss(self, module: Any, batch: PairBatch) -> BatchLoss:
        settings = self._settings
        logprob_T = module(batch.rows)
        policy, reference, distance = self._scores(batch, logprob_T)
        reference_pairs = None if reference is None else reference.of_pairs
        pair_loss = self._loss_type.loss(policy.of_pairs, reference_pairs, settings.beta, settings.label_smoothing)
        loss_P, metrics = pair_loss.loss_P, _metrics(pair_loss, policy, batch, settings.beta)
        if settings.mdpo_weight and reference is not None:
            conditional = _conditional_loss(policy, reference, settings.beta)
            loss_P = loss_P + settings.mdpo_weight * conditional.loss_P
            metrics["mdpo_margin"] = conditional.margin_P.sum().item() / batch.pairs
        value = (batch.weight_P.to(loss_P.device) * loss_P).sum() / batch.pairs
        if settings.sft_weight:
            value = value + settings.sft_weight * _sft_term(logprob_T, batch)
        return BatchLoss(value, metrics, distance)

    def _scores(self, batch: PairBatch, logprob_T: Tensor) -> tuple[AnswerScores, AnswerScores | None, Tensor | None]:
        """The scores of the policy and the reference, and the largest distance between them, in nats a token."""
        policy_B, length_B = sum_by_answer(logprob_T, batch.rows), answer_lengths(batch.rows).to(logprob_T.device)
        scale_B = length_B if self._settings.length_normalize else 1
        policy = batch.by_kind(policy_B / scale_B)
        if batch.reference_B is None:
            return policy, None, None
        reference_B = batch.reference_B.to(logprob_T.device)
        distance = ((policy_B.detach() - reference_B) / length_B).abs().max()
        return policy, batch.by_kind(reference_B / scale_B), distance

    def _answers(self, samples: Sequence[Sample]) -> list[AnswerToScore]:
        """The answers of these pairs, kind by kind."""
        chosen = chosen_of(samples)
        blank = [answer._replace(image=BLANK) for answer in chosen] if self._settings.mdpo_weight else []
        return chosen + rejected_of(samples) + blank


def _conditional_loss(policy: AnswerScores, reference: AnswerScores, beta: float) -> PairLoss:
    """mDPO's term: the chosen answer with its image against the same answer under a blank image."""
    assert policy.blank_P is not None and reference.blank_P is not None
    return mdpo_loss(policy.chosen_P, policy.blank_P, reference.chosen_P, reference.blank_P, beta)


def _sft_term(logprob_T: Tensor, batch: PairBatch) -> Tensor:
    """The batch's part of the mean negative log-likelihood of the step's chosen answers."""
    return -logprob_T[batch.is_chosen_T.to(logprob_T.device)].sum() / batch.chosen_tokens


def _metrics(pair_loss: PairLoss, policy: AnswerScores, batch: PairBatch, beta: float) -> dict[str, float]:
    margin_P = pair_loss.margin_P.detach()
    rewards = (pair_loss.chosen_reward_P + pair_loss.rejected_reward_P).sum().item()
    return {
        # A margin of zero is a tie and counts half.
        "accuracy": ((margin_P > 0).float() + 0.5 * (margin_P == 0).float()).sum().item() / batch.pairs,
        "margin": margin_P.sum().item() / batch.pairs,
        "chosen_reward": pair_loss.chosen_reward_P.sum().item() / batch.pairs,
        "rejected_reward": pair_loss.rejected_reward_P.sum().item() / batch.pairs,
        "pairs": len(batch.weight_P),
        "tokens": batch.rows.tokens,
        "chosen_logprob": policy.chosen_P.sum().item() / batch.pairs,
        "rejected_logprob": policy.rejected_P.sum().item() / batch.pairs,
        # An estimate of the KL divergence from the reference on the answers of the data set.
        "kl": -(rewards / beta) / (2 * batch.pairs),
    }


def _weights(config: PairWeightsConfig) -> dict[Contrast, float]:
    return {
        "safety": config.safety,
        "helpfulness": config.helpfulness,
        "both": config.both,
        "unknown": config.unknown,
    }


def _exhaust(items: Iterator[object]) -> None:
    for _ in items:
        pass
