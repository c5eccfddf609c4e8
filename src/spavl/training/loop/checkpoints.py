"""The checkpoints of a training: each one file that is complete or absent. The newest few are kept.

A checkpoint holds all that the next steps depend on: the trained weights, the optimizer state, and the metrics so far.
Micro-batches are pure functions of the step number, so no position in the data and no random state is saved.
Weights and optimizer state are saved whole even if they are sharded, so that a training can continue with another
number of processes.
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
    """The metrics of a finished step; steps are counted from 1. `seconds` is 0 for a step of an earlier start."""

    number: int
    metrics: dict[str, float]
    seconds: float = 0.0


class Checkpoints:
    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self._keep = folder, keep

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, history: Sequence[StepRecord]) -> None:
        weights, optimizer_state = get_state_dict(module, optimizer, options=_WHOLE)
        weights = _trained(weights, module)
        if not is_first():
            return
        steps = [(step.number, step.metrics) for step in history]
        self.folder.mkdir(parents=True, exist_ok=True)
        with writing_to(self.folder / _NAME.format(len(history))) as temporary:
            torch.save({"weights": weights, "optimizer": optimizer_state, "history": steps}, temporary)
        for old in self._saved()[: -self._keep]:
            old.unlink()

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> list[StepRecord]:
        """Load the last checkpoint that can be read, and return its steps; a damaged one is skipped."""
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
        """Save the weights of the best validation so far. All processes must call this: each may hold a shard."""
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
        """The trained weights, gathered from all processes. All of them must call this."""
        return _trained(get_model_state_dict(module, options=_WHOLE), module)

    def keep_batch(self, step: int, batch: Any) -> Path:
        """Save a batch whose loss or gradient is not finite, for inspection."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"batch-of-step-{step}.pt"
        with writing_to(path) as temporary:
            torch.save(batch, temporary)
        return path

    def _saved(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.state"))


def _trained(weights: Mapping[str, Any], module: nn.Module) -> dict[str, Any]:
    """The trained weights only. torch also returns frozen weights that have a second name, and four-bit scales."""
    named = module.named_parameters(remove_duplicate=False)
    trained = {name.removeprefix("module.") for name, parameter in named if parameter.requires_grad}
    return {name: values for name, values in weights.items() if name in trained}
