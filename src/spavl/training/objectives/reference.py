"""The log-probabilities of answers under the untrained model, the reference: scored once, and cached on disk.

A cached value depends on the files of the model (its revision covers weights, processor and chat template), in bfloat16
on which of its weights are trained, on the bytes of the image, the tokens of question and answer, and the code that
scores them. All of these are in its key, so that no key is ever invalidated.
The features of a frozen vision tower are not cached: see docs/training.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from spavl.models.backends.hf import checkpoint_name
from spavl.models.factory import checkpoint_path
from spavl.records import Sample, content_hash
from spavl.store.sqlite import connect
from spavl.training.config import TrainingConfig
from spavl.training.model.pretrained import frozen_dtype
from spavl.training.model.trainable import widened
from spavl.training.objectives.microbatches import AnswerToScore, StepBatches
from spavl.training.prefix_trees.logprobs import answer_logprobs
from spavl.training.prefix_trees.tokenize import TokenCounter

CACHE = "references.sqlite"
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

    def known(self, answers: Iterable[AnswerToScore]) -> dict[AnswerToScore, float]:
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
    """What the scores of the reference depend on, besides the answers.

    In bfloat16 they also depend on which weights are trained, and so kept in float32, and on whether rows share a
    prefix: both change the rounding.
    """
    bits = " in four bits" if settings.trainable.language == "qlora" else ""
    name = f"{checkpoint_name(checkpoint_path(settings.model))} {frozen_dtype(settings)}{bits}"
    if settings.loop.precision != "bf16":
        return name
    return f"{name} {content_hash([widened(model), settings.share_prefixes])}"


class ReferenceScores:
    """The reference log-probabilities of the answers of each sample.

    All samples must be scored before the first optimizer step: until then the policy itself is the reference.
    """

    def __init__(
        self, model: Any, step_batches: StepBatches, answers_of: PairAnswersOf, cache: ReferenceCache | None
    ) -> None:
        self._model, self._step_batches, self._answers_of, self._cache = model, step_batches, answers_of, cache
        samples = step_batches.samples
        known = {} if cache is None else cache.known(answers_of(samples))
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
