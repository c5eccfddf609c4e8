"""The training loop of all objectives: take the micro-batches of a step, compute their losses, step.

The micro-batches of a step are a pure function of its number. So a training that was stopped continues from its last
checkpoint with the same micro-batches, and ends with the same weights as one that was not.
Under `accelerate launch`, the processes share the micro-batches of each step.
"""

import math
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import FSDPModule, fully_shard

from spavl.errors import TrainingError
from spavl.store.files import clear_unfinished, writing_to
from spavl.training.config import LoopConfig
from spavl.training.loop.distributed import is_first, new_accelerator

_NAME, _BEST = "step-{:08d}.state", "best.weights"
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True, strict=False)
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError)
B = TypeVar("B")
P = TypeVar("P")
# The largest rounding error of the log-probability of an answer, in nats a token.
_ROUNDING = {"float32": 1e-3, "bf16": 0.2}


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
        weights = _trained_weights(weights, module)
        if not is_first():
            return
        steps = [(step.number, step.metrics) for step in history]
        self.folder.mkdir(parents=True, exist_ok=True)
        with writing_to(self.folder / _NAME.format(len(history))) as temporary:
            torch.save({"weights": weights, "optimizer": optimizer_state, "history": steps}, temporary)
        for old in self._state_files()[: -self._keep]:
            old.unlink()

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> list[StepRecord]:
        """Load the last checkpoint that can be read, and return its steps; a damaged one is skipped."""
        if is_first():
            clear_unfinished(self.folder)
        for path in reversed(self._state_files()):
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
        return _trained_weights(get_model_state_dict(module, options=_WHOLE), module)

    def keep_batch(self, step: int, batch: Any) -> Path:
        """Save a batch whose loss or gradient is not finite, for inspection."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"batch-of-step-{step}.pt"
        with writing_to(path) as temporary:
            torch.save(batch, temporary)
        return path

    def _state_files(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.state"))


def _trained_weights(weights: Mapping[str, Any], module: nn.Module) -> dict[str, Any]:
    """Only the trained weights. torch also returns frozen weights that have a second name, and four-bit scales."""
    named = module.named_parameters(remove_duplicate=False)
    trained = {name.removeprefix("module.") for name, parameter in named if parameter.requires_grad}
    return {name: values for name, values in weights.items() if name in trained}


class BatchLoss(NamedTuple):
    """The part of a micro-batch in the loss and metrics of its step. The parts of all micro-batches add up to them."""

    value: Tensor
    metrics: Mapping[str, float]
    # The largest difference to the reference's log-probability of an answer, in nats a token. Before the first step
    # it is rounding alone.
    distance: Tensor | None = None


class MicroBatches(Generic[B]):
    """The micro-batches of a step. Each is made when it is used: a process makes only its own, one at a time."""

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
    """What the loop needs of an objective."""

    @property
    def module(self) -> nn.Module:
        """What is trained. It is called with what `loss` passes on, so that it can be wrapped for several processes."""
        ...

    @property
    def steps(self) -> int: ...

    def microbatches(self, number: int) -> MicroBatches[B]: ...

    def loss(self, module: Any, batch: B) -> BatchLoss: ...


RateOf = Callable[[str], float | None]


def train(
    task: TrainingTask[B], config: LoopConfig, checkpoints: Checkpoints, rate_of: RateOf = lambda name: None
) -> Iterator[StepRecord]:
    """Train the module in place; yields each optimizer step, those of earlier starts included.

    `rate_of` returns the peak learning rate of a parameter, by its name, or None for the usual one.
    """
    accelerator = new_accelerator()
    module = shard(task.module) if config.shard else accelerator.prepare(task.module)
    groups = _groups(task.module, config, rate_of)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    history = checkpoints.load(module, optimizer)
    yield from history
    for number in range(len(history), task.steps):
        began = time.monotonic()
        rate = learning_rate_at(number, task.steps, config)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        optimizer.zero_grad(set_to_none=True)
        microbatches = task.microbatches(number)
        metrics = _accumulate(accelerator, module, task, number, microbatches, config, checkpoints)
        norm = float(accelerator.clip_grad_norm_(module.parameters(), config.max_grad_norm))
        if not math.isfinite(norm):
            # This can happen with a finite loss. The weights after such a step must not be saved.
            _stop("the norm of the gradient", norm, number, list(microbatches), checkpoints)
        optimizer.step()
        metrics |= {"grad_norm": norm, "learning_rate": rate}
        history.append(StepRecord(number + 1, metrics, time.monotonic() - began))
        if (number + 1) % config.save_every == 0 or number + 1 == task.steps:
            checkpoints.save(module, optimizer, history)
        yield history[-1]


def learning_rate_at(step: int, steps: int, config: LoopConfig) -> float:
    """Linear warm-up to the peak, then a decay to zero, or a constant rate."""
    warmup = max(config.warmup_steps, math.ceil(config.warmup_ratio * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    factor = {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "constant": 1.0}
    return config.learning_rate * factor[config.schedule]


def _groups(module: nn.Module, config: LoopConfig, rate_of: RateOf) -> list[dict[str, Any]]:
    """The trainable parameters, grouped by the ratio of their learning rate to the usual one."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((rate_of(name) or config.learning_rate) / config.learning_rate, []).append(parameter)
    return [{"params": parameters, "rate_factor": factor} for factor, parameters in groups.items()]


def _accumulate(
    accelerator: Accelerator,
    module: nn.Module,
    task: TrainingTask[B],
    number: int,
    microbatches: MicroBatches[B],
    config: LoopConfig,
    checkpoints: Checkpoints,
) -> dict[str, float]:
    """Accumulate the gradients of a whole step in the module; returns its metrics."""
    processes = accelerator.num_processes
    # The places of this process's micro-batches, with a weight of 1.
    mine = [(place, 1) for place in range(accelerator.process_index, len(microbatches), processes)]
    # All processes must call the module equally often, since they wait for each other; fillers have a weight of 0.
    mine += [(0, 0)] * (-(-len(microbatches) // processes) - len(mine))
    metrics: Counter[str] = Counter()
    for turn, (place, weight) in enumerate(mine):
        batch, last = microbatches[place], turn + 1 == len(mine)
        with (
            nullcontext() if last else _without_sync(accelerator, module),
            torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.precision == "bf16"),
        ):
            loss = task.loss(module, batch)
            if not math.isfinite(loss.value.item()):
                _stop("the loss", loss.value.item(), number, batch, checkpoints)
            if number == 0 and loss.distance is not None and not loss.distance <= _ROUNDING[config.precision]:
                _stop_at_wrong_reference(loss.distance.item())
            # Gradients are averaged over the processes, but the parts of a step have to be summed.
            accelerator.backward(loss.value * (weight * processes))
        metrics.update({"loss": weight * loss.value.item(), **{k: weight * v for k, v in loss.metrics.items()}})
    _check_gradients(module)
    values = torch.tensor(list(metrics.values()), dtype=torch.float64, device=accelerator.device)
    return dict(zip(metrics, accelerator.reduce(values, "sum").tolist(), strict=True))


@contextmanager
def _without_sync(accelerator: Accelerator, module: nn.Module) -> Iterator[None]:
    """Keep gradients in their process. They are synchronized at the last micro-batch of a step."""
    if not isinstance(module, FSDPModule):
        with accelerator.no_sync(module):
            yield
        return
    module.set_requires_gradient_sync(False)
    yield
    module.set_requires_gradient_sync(True)


def shard(module: nn.Module) -> nn.Module:
    """Shard the weights over the processes (FSDP2), by the blocks that the model names in `_no_split_modules`."""
    blocks = {name for part in module.modules() for name in getattr(part, "_no_split_modules", None) or ()}
    for part in module.modules():
        if type(part).__name__ in blocks:
            fully_shard(part)
    fully_shard(module)
    return module


def _check_gradients(module: nn.Module) -> None:
    """Refuse a model if one of its parameters should be trained but has no gradient."""
    missed = [name for name, each in module.named_parameters() if each.requires_grad and each.grad is None]
    if missed:
        then = "report this model; freeze that part of it under [training.trainable]"
        what = f"{len(missed)} parameters are to be trained, but the loss does not depend on them"
        raise TrainingError(what, where=missed[0], then=then)


def _stop_at_wrong_reference(distance: float) -> NoReturn:
    """Before the first step the policy is its own reference: other scores are those of another model or prompt."""
    what = f"before the first step the scores of policy and reference differ by {distance:.2g} nats a token"
    then = "report this model; with another folder as SPAVL_CACHE the reference is scored again"
    raise TrainingError(what, where="step 1", then=then)


def _stop(what: str, value: float, number: int, batch: Any, checkpoints: Checkpoints) -> NoReturn:
    saved = checkpoints.keep_batch(number + 1, batch)
    then = f"lower the learning rate, or inspect this batch: torch.load({str(saved)!r}, weights_only=False)"
    raise TrainingError(f"{what} is {value}", where=f"step {number + 1}", then=then)
