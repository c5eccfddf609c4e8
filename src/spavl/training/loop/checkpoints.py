"""The saved states of a training: each one file that is whole or not there, the newest few kept.

A state holds all that the steps to come hang on: the trained weights, the optimizer, and what has happened
so far. Batches are pure functions of their number, so there is no place in the data to save, and no random numbers.
Weights and optimizer are saved whole, however they are spread over processes, so that a state can be taken
up by another number of them.
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)

from spavl.store.files import clear_unfinished, writing_to
from spavl.training.loop.distributed import is_first

_NAME, _BEST = "step-{:08d}.state", "best.weights"
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True, strict=False)
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError)


class StepRecord(NamedTuple):
    """What happened at a step; `number` counts finished steps. One of an earlier start took no time."""

    number: int
    metrics: dict[str, float]
    seconds: float = 0.0


class Checkpoints:
    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self._keep = folder, keep

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, history: Sequence[StepRecord]) -> None:
        weights, moments = get_state_dict(module, optimizer, options=_WHOLE)
        weights = _free(weights, module)
        if not is_first():
            return
        steps = [(step.number, step.metrics) for step in history]
        self.folder.mkdir(parents=True, exist_ok=True)
        with writing_to(self.folder / _NAME.format(len(history))) as temporary:
            torch.save({"weights": weights, "optimizer": moments, "history": steps}, temporary)
        for old in self._saved()[: -self._keep]:
            old.unlink()

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> list[StepRecord]:
        """Take up the last state that can be read: one that a broken disk took is passed over."""
        if is_first():
            clear_unfinished(self.folder)
        for path in reversed(self._saved()):
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except _UNREADABLE:
                continue
            set_state_dict(
                module,
                optimizer,
                model_state_dict=state["weights"],
                optim_state_dict=state["optimizer"],
                options=_WHOLE,
            )
            return [StepRecord(number, metrics) for number, metrics in state["history"]]
        return []

    def save_best(self, module: nn.Module) -> None:
        """The weights of the best look so far; all processes must come, for they may hold a shard each."""
        weights = self.whole(module)
        if not is_first():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with writing_to(self.folder / _BEST) as temporary:
            torch.save(weights, temporary)

    def load_best(self, module: nn.Module) -> None:
        weights = torch.load(self.folder / _BEST, map_location="cpu", weights_only=True)
        set_model_state_dict(module, weights, options=_WHOLE)

    def whole(self, module: nn.Module) -> dict[str, Any]:
        """The trained weights, gathered from all processes, which must all ask."""
        return _free(get_model_state_dict(module, options=_WHOLE), module)

    def keep_batch(self, step: int, batch: Any) -> Path:
        """A batch that broke the training, for whoever wants to know why."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"batch-of-step-{step}.pt"
        with writing_to(path) as temporary:
            torch.save(batch, temporary)
        return path

    def _saved(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.state"))


def _free(weights: Mapping[str, Any], module: nn.Module) -> dict[str, Any]:
    """Those that are trained. torch leaves in what is frozen under a second name, and the scales of four bits."""
    named = module.named_parameters(remove_duplicate=False)
    free = {name.removeprefix("module.") for name, parameter in named if parameter.requires_grad}
    return {name: values for name, values in weights.items() if name in free}
