"""What is seen of a model while it is trained: looks at it every few steps, the best of them, and when to stop."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from spavl.statistics import Estimate, wilson
from spavl.store.files import write_text
from spavl.training.config import ValidationConfig
from spavl.training.loop import distributed
from spavl.training.loop.checkpoints import Checkpoints
from spavl.training.loop.generation_eval import GenerationEval
from spavl.training.loop.loop import TrainingTask
from spavl.training.objectives.notes import ValidationNotes
from spavl.training.prefix_trees.logprobs import computing_in

_NOT_ASKED = wilson(0, 0)
# What is told of held-out pairs, where their course has it.
_TOLD = ("loss", "accuracy", "margin")


class ValidationResult(NamedTuple):
    """What was seen at a step: two rates, if anybody judged answers, and how it did on pairs it is not taught."""

    step: int
    unsafe_rate: Estimate = _NOT_ASKED
    over_refusal: Estimate = _NOT_ASKED
    held_out: Mapping[str, float] = {}

    @property
    def fault(self) -> float:
        """What is to be small. Where one kind of question was never asked the other says all; where none was, loss."""
        rates = [each.value for each in (self.unsafe_rate, self.over_refusal) if each.n]
        return sum(rates) if rates or not self.held_out else self.held_out["loss"]

    def figures(self) -> dict[str, float]:
        """Under the names of its curves."""
        rates = {"unsafe_rate": self.unsafe_rate, "over_refusal": self.over_refusal}
        asked = {name: rate.value for name, rate in rates.items() if rate.n}
        return asked | {f"held_out_{name}": value for name, value in self.held_out.items()}

    def as_notes(self) -> ValidationNotes:
        return ValidationNotes(**self._asdict())


class HeldOutPairs:
    """Pairs that are never taught. Their course has one step, whose passes hold all of them."""

    def __init__(self, task: TrainingTask[Any], precision: str) -> None:
        self._task, self._precision = task, precision

    @torch.no_grad()
    def figures(self, module: nn.Module) -> dict[str, float]:
        told: Counter[str] = Counter()
        for batch in self._task.passes(0):
            with computing_in(self._precision, module.model):
                loss = self._task.loss(module, batch)
            told.update({"loss": loss.value.item(), **loss.metrics})
        return {name: told[name] for name in _TOLD if name in told}


class Validator:
    """Looks at what is trained in the same way every time, and remembers the looks of earlier starts.

    Of several processes the first one alone asks, remembers and decides; all of them come here together.
    """

    def __init__(
        self,
        task: TrainingTask[Any],
        states: Checkpoints,
        settings: ValidationConfig,
        asking: GenerationEval | None = None,
        held_out: HeldOutPairs | None = None,
        is_sharded: bool = False,
    ) -> None:
        self._task, self._states, self._settings = task, states, settings
        self._asking, self._held_out, self._is_sharded = asking, held_out, is_sharded
        self._memory = states.folder / "looks.jsonl"
        lines = self._memory.read_text().splitlines() if self._memory.exists() else []
        self.looks = [_read(line) for line in lines]

    @property
    def keeps_best(self) -> bool:
        """Whether the best weights are kept, and not the last: where somebody judges, or it may have gone too far."""
        return bool(self._settings.guard or self._settings.patience)

    async def is_over(self, step: int) -> bool:
        """Look, if it is time to; whether it is time to stop."""
        if step % self._settings.every and step != self._task.steps:
            return False
        if distributed.told_by_first(lambda: self.is_due(step)):
            look = await self.look(step)
            if self.keeps_best and distributed.told_by_first(lambda: look is self.best(step)):
                self._states.save_best(self._task.module)
            # Not before its weights are safe.
            if distributed.is_first():
                self._remember()
        return distributed.told_by_first(lambda: self.is_hopeless(step))

    def is_due(self, step: int) -> bool:
        looked = any(look.step == step for look in self.looks)
        return not looked and (step % self._settings.every == 0 or step == self._task.steps)

    async def look(self, step: int) -> ValidationResult:
        module, held_out = self._task.module, dict[str, float]()
        # In shards a model needs all its processes to look at anything, and to be put together.
        if self._held_out is not None and (distributed.is_first() or self._is_sharded):
            held_out = self._held_out.figures(module)
        weights = self._states.whole(module) if self._settings.guard and self._is_sharded else None
        rates = await self._asking.rates(weights) if self._asking else ()
        look = ValidationResult(step, *rates)._replace(held_out=held_out)
        self.looks.append(look)
        return look

    def restore_best(self) -> None:
        """To be called when all is done: what was best is what is kept."""
        if self.keeps_best:
            self._states.load_best(self._task.module)

    def best(self, until: int) -> ValidationResult | None:
        """Of the looks up to a step; the later of two that are as good, for it has learnt more."""
        looks = [look for look in reversed(self.looks) if look.step <= until]
        return min(looks, key=lambda look: look.fault, default=None)

    def is_hopeless(self, step: int) -> bool:
        """Whether so many looks have brought nothing better that it is time to stop."""
        best = self.best(step)
        since = [look for look in self.looks if best is not None and best.step < look.step <= step]
        return 0 < self._settings.patience <= len(since)

    def _remember(self) -> None:
        write_text(self._memory, "".join(json.dumps(look.as_notes().as_json()) + "\n" for look in self.looks))


def _read(line: str) -> ValidationResult:
    noted = ValidationNotes.model_validate_json(line)
    return ValidationResult(noted.step, noted.unsafe_rate, noted.over_refusal, noted.held_out)
