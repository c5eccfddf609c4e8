"""The one training loop: take a step's batches, get their losses, step. Everything else is passed in.

A step's batches are a pure function of its number, so a loop that was stopped goes on from its last
saved state with the same batches, and ends with the same weights as one that was not.
Under `accelerate launch`, its processes share the batches of each step between them.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from spavl.errors import TrainingError
from spavl.training.loop.checkpoints import Checkpoints, StepRecord
from spavl.training.loop.distributed import new_accelerator
from spavl.training.loop.schedule import LoopConfig, learning_rate_at

B = TypeVar("B")
P = TypeVar("P")
# The most that rounding may move the score of an answer, in nats a token.
_ROUNDING = {"float32": 1e-3, "bf16": 0.2}


class BatchLoss(NamedTuple):
    """A batch's share of its step: the shares of a step's batches add up to its loss, and to its metrics."""

    value: Tensor
    metrics: Mapping[str, float]
    # How far any answer's score is from its reference's, in nats a token. Before the first step that is rounding.
    apart: Tensor | None = None


class MicroBatches(Generic[B]):
    """The batches of a step, each small enough to go through the module at once, and made when it is asked for.

    So a process makes its own alone, and holds one at a time.
    """

    def __init__(self, parts: Sequence[P], make: Callable[[P], B]) -> None:
        self._parts: Sequence[Any] = parts
        self._make = make

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, place: int) -> B:
        return self._make(self._parts[place])

    def __iter__(self) -> Iterator[B]:
        return map(self._make, self._parts)


class TrainingTask(Protocol[B]):
    """What is learnt."""

    @property
    def module(self) -> nn.Module:
        """What is trained. It is called with what `loss` gives it, so that it may be spread over processes."""
        ...

    @property
    def steps(self) -> int: ...

    def passes(self, number: int) -> MicroBatches[B]: ...

    def loss(self, module: Any, batch: B) -> BatchLoss: ...


RateOf = Callable[[str], float | None]


def train(
    task: TrainingTask[B], config: LoopConfig, states: Checkpoints, rate_of: RateOf = lambda name: None
) -> Iterator[StepRecord]:
    """Train what is trainable of the course's module in place; yields each step, those done earlier included.

    `rate_of` tells the peak learning rate of a parameter, by its name, where it has one of its own.
    """
    accelerator = new_accelerator()
    module = shard(task.module) if config.shard else accelerator.prepare(task.module)
    groups = _groups(task.module, config, rate_of)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    history = states.load(module, optimizer)
    yield from history
    for number in range(len(history), task.steps):
        began = time.monotonic()
        rate = learning_rate_at(number, task.steps, config)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["times"]
        optimizer.zero_grad(set_to_none=True)
        passes = task.passes(number)
        metrics = _all_passes(accelerator, module, task, number, passes, config, states)
        norm = float(accelerator.clip_grad_norm_(module.parameters(), config.max_grad_norm))
        if not math.isfinite(norm):
            # Of a finite loss, too: what it would leave of the weights must not be saved.
            _stop("the norm of the gradient", norm, number, list(passes), states)
        optimizer.step()
        metrics |= {"grad_norm": norm, "learning_rate": rate}
        history.append(StepRecord(number + 1, metrics, time.monotonic() - began))
        if (number + 1) % config.save_every == 0 or number + 1 == task.steps:
            states.save(module, optimizer, history)
        yield history[-1]


def _groups(module: nn.Module, config: LoopConfig, rate_of: RateOf) -> list[dict[str, Any]]:
    """The trainable parameters, by how many times the usual rate is theirs."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((rate_of(name) or config.learning_rate) / config.learning_rate, []).append(parameter)
    return [{"params": parameters, "times": times} for times, parameters in groups.items()]


def _all_passes(
    accelerator: Accelerator,
    module: nn.Module,
    task: TrainingTask[B],
    number: int,
    passes: MicroBatches[B],
    config: LoopConfig,
    states: Checkpoints,
) -> dict[str, float]:
    """Leave the gradients of a whole step in the module; give what it tells."""
    processes = accelerator.num_processes
    mine = [(place, 1) for place in range(accelerator.process_index, len(passes), processes)]
    # All must go through the module equally often, for they wait for each other; what fills up counts nothing.
    mine += [(0, 0)] * (-(-len(passes) // processes) - len(mine))
    told: Counter[str] = Counter()
    for turn, (place, counts) in enumerate(mine):
        batch, last = passes[place], turn + 1 == len(mine)
        with (
            nullcontext() if last else _unshared(accelerator, module),
            torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.precision == "bf16"),
        ):
            loss = task.loss(module, batch)
            if not math.isfinite(loss.value.item()):
                _stop("the loss", loss.value.item(), number, batch, states)
            if number == 0 and loss.apart is not None and not loss.apart <= _ROUNDING[config.precision]:
                _stop_at_another_reference(loss.apart.item())
            # Gradients are averaged over the processes, and shares are to be added.
            accelerator.backward(loss.value * (counts * processes))
        told.update({"loss": counts * loss.value.item(), **{k: counts * v for k, v in loss.metrics.items()}})
    _check_reached(module)
    values = torch.tensor(list(told.values()), dtype=torch.float64, device=accelerator.device)
    return dict(zip(told, accelerator.reduce(values, "sum").tolist(), strict=True))


@contextmanager
def _unshared(accelerator: Accelerator, module: nn.Module) -> Iterator[None]:
    """Leave gradients with their process; the last pass of a step shares those of all."""
    if not isinstance(module, FSDPModule):
        with accelerator.no_sync(module):
            yield
        return
    module.set_requires_gradient_sync(False)
    yield
    module.set_requires_gradient_sync(True)


def shard(module: nn.Module) -> nn.Module:
    """Spread the weights over the processes (FSDP2), in the blocks that the model's makers say must stay whole."""
    whole = {name for part in module.modules() for name in getattr(part, "_no_split_modules", None) or ()}
    for part in module.modules():
        if type(part).__name__ in whole:
            fully_shard(part)
    fully_shard(module)
    return module


def _check_reached(module: nn.Module) -> None:
    """Names mean what they say: what is said to be trained has a gradient."""
    missed = [name for name, each in module.named_parameters() if each.requires_grad and each.grad is None]
    if missed:
        then = "report this model; freeze that part of it under [training.trainable]"
        raise TrainingError(
            f"{len(missed)} parameters are to be trained, and nothing reads them", where=missed[0], then=then
        )


def _stop_at_another_reference(apart: float) -> NoReturn:
    """A policy is its own reference until the first step: other scores are another model's, or of another prompt."""
    what = f"before the first step answers score {apart:.2g} nats a token off their reference"
    then = "report this model; with another folder as SPAVL_CACHE its reference is scored anew"
    raise TrainingError(what, where="step 1", then=then)


def _stop(what: str, value: float, number: int, batch: Any, states: Checkpoints) -> NoReturn:
    kept = states.keep_batch(number + 1, batch)
    then = f"lower the learning rate, or look at this batch: torch.load({str(kept)!r}, weights_only=False)"
    raise TrainingError(f"{what} is {value}", where=f"step {number + 1}", then=then)
