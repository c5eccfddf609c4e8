"""The one training loop: take a batch by its number, get a loss, step. Everything else is passed in.

A batch is a pure function of its number, so a loop that was stopped goes on from its last
saved state with the same batches, and ends with the same weights as one that was not.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from spavl.errors import TrainingError
from spavl.store.files import writing_to
from spavl.training.schedule import LoopConfig, learning_rate_at

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)


class Loss(NamedTuple):
    value: Tensor
    metrics: Mapping[str, float]


class Objective(Protocol[B_contra]):
    def __call__(self, batch: B_contra) -> Loss: ...


class Step(NamedTuple):
    """What happened at a step; `number` counts finished steps."""

    number: int
    metrics: dict[str, float]


def train(
    module: nn.Module,
    batch_at: Callable[[int], B],
    objective: Objective[B],
    steps: int,
    config: LoopConfig,
    state_path: Path,
) -> Iterator[Step]:
    """Train the module's trainable parameters in place; yields each step, those done earlier included."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True)
    history = _load_state(state_path, parameters, optimizer)
    yield from history
    for number in range(len(history), steps):
        rate = learning_rate_at(number, steps, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = objective(batch_at(number))
        if not torch.isfinite(loss.value):
            then = "lower the learning rate, or look at the rows of this batch"
            raise TrainingError(f"the loss is {loss.value.item()}", where=f"step {number}", then=then)
        optimizer.zero_grad(set_to_none=True)
        loss.value.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        metrics = {"loss": loss.value.item(), "grad_norm": norm.item(), "learning_rate": rate, **loss.metrics}
        history.append(Step(number + 1, metrics))
        if (number + 1) % config.save_every == 0 or number + 1 == steps:
            _save_state(state_path, parameters, optimizer, history)
        yield history[-1]


def _save_state(
    path: Path, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, history: list[Step]
) -> None:
    state = {
        "parameters": [parameter.detach() for parameter in parameters],
        "optimizer": optimizer.state_dict(),
        "history": [(step.number, step.metrics) for step in history],
    }
    with writing_to(path) as temporary:
        torch.save(state, temporary)


def _load_state(path: Path, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> list[Step]:
    if not path.exists():
        return []
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for parameter, saved in zip(parameters, state["parameters"], strict=True):
            parameter.copy_(saved)
    optimizer.load_state_dict(state["optimizer"])
    return [Step(number, metrics) for number, metrics in state["history"]]
