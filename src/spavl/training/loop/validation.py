"""Validation during a training: every few steps, which result was the best, and when to stop early."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from spavl.statistics import Estimate, wilson
from spavl.store.files import write_text
from spavl.training.config import ValidationConfig
from spavl.training.loop import distributed
from spavl.training.loop.checkpoints import Checkpoints
from spavl.training.loop.loop import TrainingTask
from spavl.training.objectives.notes import ValidationNotes
from spavl.training.prefix_trees.logprobs import computing_in

if TYPE_CHECKING:
    from spavl.training.loop.generation_eval import GenerationEval

_NOT_EVALUATED = wilson(0, 0)
# The metrics of held-out pairs, where the objective has them.
_METRICS = ("loss", "accuracy", "margin")


class ValidationResult(NamedTuple):
    """The validation at a step: two rates if a guard judged answers, and the metrics of held-out pairs."""

    step: int
    unsafe_rate: Estimate = _NOT_EVALUATED
    over_refusal: Estimate = _NOT_EVALUATED
    held_out: Mapping[str, float] = {}

    @property
    def error(self) -> float:
        """What validation minimizes: the sum of the rates that were measured, or else the loss on held-out pairs."""
        rates = [each.value for each in (self.unsafe_rate, self.over_refusal) if each.n]
        return sum(rates) if rates or not self.held_out else self.held_out["loss"]

    def metrics(self) -> dict[str, float]:
        """By the names of the curves."""
        rates = {"unsafe_rate": self.unsafe_rate, "over_refusal": self.over_refusal}
        measured = {name: rate.value for name, rate in rates.items() if rate.n}
        return measured | {f"held_out_{name}": value for name, value in self.held_out.items()}

    def as_notes(self) -> ValidationNotes:
        return ValidationNotes(**self._asdict())


class HeldOutPairs:
    """Pairs that are never trained on, as a task with a single step that holds all of them."""

    def __init__(self, task: TrainingTask[Any], precision: str) -> None:
        self._task, self._precision = task, precision

    @torch.no_grad()
    def metrics(self, module: nn.Module) -> dict[str, float]:
        total: Counter[str] = Counter()
        for batch in self._task.microbatches(0):
            with computing_in(self._precision, module.model):
                loss = self._task.loss(module, batch)
            total.update({"loss": loss.value.item(), **loss.metrics})
        return {name: total[name] for name in _METRICS if name in total}


class Validator:
    """Validates the model that is trained, and remembers the results of earlier starts.

    All processes call it together. Only the first one generates, remembers and decides.
    """

    def __init__(
        self,
        task: TrainingTask[Any],
        checkpoints: Checkpoints,
        settings: ValidationConfig,
        generation: "GenerationEval | None" = None,
        held_out: HeldOutPairs | None = None,
        is_sharded: bool = False,
    ) -> None:
        self._task, self._checkpoints, self._settings = task, checkpoints, settings
        self._generation, self._held_out, self._is_sharded = generation, held_out, is_sharded
        self._file = checkpoints.folder / "validation.jsonl"
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        self.results = [_read(line) for line in lines]

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the best validation are kept at the end, and not the last ones."""
        return bool(self._settings.guard or self._settings.patience)

    async def is_over(self, step: int) -> bool:
        """Validate if it is due; returns whether to stop early."""
        if step % self._settings.every and step != self._task.steps:
            return False
        if distributed.from_first(lambda: self.is_due(step)):
            result = await self.validate(step)
            if self.keeps_best and distributed.from_first(lambda: result is self.best(step)):
                self._checkpoints.save_best(self._task.module)
            # Only when its weights are saved: a result on disk promises them.
            if distributed.is_first():
                self._remember()
        return distributed.from_first(lambda: self.is_out_of_patience(step))

    def is_due(self, step: int) -> bool:
        is_done = any(result.step == step for result in self.results)
        return not is_done and (step % self._settings.every == 0 or step == self._task.steps)

    async def validate(self, step: int) -> ValidationResult:
        module, held_out = self._task.module, dict[str, float]()
        # A sharded model needs all processes for a forward pass and to be gathered.
        if self._held_out is not None and (distributed.is_first() or self._is_sharded):
            held_out = self._held_out.metrics(module)
        weights = self._checkpoints.whole(module) if self._settings.guard and self._is_sharded else None
        rates = await self._generation.rates(weights) if self._generation else ()
        result = ValidationResult(step, *rates)._replace(held_out=held_out)
        self.results.append(result)
        return result

    def restore_best(self) -> None:
        """Load the weights of the best validation, if they are kept. Called when the training is over."""
        if self.keeps_best:
            self._checkpoints.load_best(self._task.module)

    def best(self, until: int) -> ValidationResult | None:
        """The result with the smallest error up to a step; of equal ones the later, which has trained longer."""
        results = [result for result in reversed(self.results) if result.step <= until]
        return min(results, key=lambda result: result.error, default=None)

    def is_out_of_patience(self, step: int) -> bool:
        """Whether so many validations in a row were not better that the training stops."""
        best = self.best(step)
        since = [result for result in self.results if best is not None and best.step < result.step <= step]
        return 0 < self._settings.patience <= len(since)

    def _remember(self) -> None:
        write_text(self._file, "".join(json.dumps(result.as_notes().as_json()) + "\n" for result in self.results))


def _read(line: str) -> ValidationResult:
    saved = ValidationNotes.model_validate_json(line)
    return ValidationResult(saved.step, saved.unsafe_rate, saved.over_refusal, saved.held_out)
