"""The processes of `accelerate launch`: all of them train, and only the first one writes.

accelerate reads its environment, which `accelerate launch` fills from its options and a configuration file. If the
settings of a training and the environment disagree, the settings win; plugins that would change training are refused.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from spavl.errors import ConfigError, MissingExtra, how_to_install

A = TypeVar("A")
B = TypeVar("B")

_NEEDED = ("torch", "transformers", "accelerate", "peft")
# Plugins of accelerate that change training, by the variable that switches them on.
_PLUGINS = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "accelerate's FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}
_DYNAMO, _PRECISION = "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_MIXED_PRECISION"
_ACCUMULATION = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
_YES = ("true", "1", "yes", "y", "on", "t")


def process_count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def are_several() -> bool:
    return process_count() > 1


def is_first() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def refuse_plugins(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse plugins of accelerate that change how gradients are computed, before anything is computed."""
    plugins = {variable: name for variable, name in _PLUGINS.items() if environment.get(variable, "").lower() in _YES}
    if environment.get(_DYNAMO, "no").lower() not in ("", "no"):
        plugins[_DYNAMO] = "torch.compile (dynamo)"
    if environment.get(_PRECISION, "no").lower() == "fp8":
        plugins[_PRECISION] = "FP8"
    for variable, name in plugins.items():
        raise ConfigError(
            f"the environment switches on {name} in accelerate, which spavl does not support",
            where=f"{variable}={environment[variable]}",
            then="start it with torchrun, or with accelerate launch --config_file of a configuration without it; "
            "training.loop.shard = true shards the weights with FSDP2",
        )


def check_sharding(shard: bool) -> None:
    """Refuse sharding in a single process, which has no other process to share the weights with."""
    if shard and not are_several():
        then = "start it with accelerate launch --num_processes 2 (or more), or set training.loop.shard = false"
        raise ConfigError("sharding needs several processes, and this is one", where="training.loop.shard", then=then)


def check_packages() -> None:
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(f"training needs {package}", then=how_to_install("hf"))


def check_tracker(name: str) -> None:
    """Check that the package of the tracker is installed, if a tracker is named."""
    if not name:
        return
    from accelerate.tracking import get_available_trackers

    if name not in (found.value for found in get_available_trackers()):
        package = {"tensorboard": "tensorboardX"}.get(name, name)
        then = f"pip install {package}, or leave training.loop.tracker empty"
        raise MissingExtra(f"{name} is not installed", where="training.loop.tracker", then=then)


def ignored_variables(precision: str, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """A message for each variable of accelerate that has no effect because the settings decide."""
    mixed, steps = environment.get(_PRECISION, "no").lower(), environment.get(_ACCUMULATION, "1")
    if mixed not in ("no", precision):
        yield f"{_PRECISION}={mixed} has no effect: training.loop.precision is {precision}"
    if steps != "1":
        yield f"{_ACCUMULATION}={steps} has no effect: training.batch_size sets the batch size of an optimizer step"


def new_accelerator(**settings: Any) -> Any:
    refuse_plugins()
    from accelerate import Accelerator  # loads torch, which the functions above do not need
    from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

    started = process_count()
    accelerator = Accelerator(
        # The loop opens its own autocast, so that the reference is computed in the same precision.
        mixed_precision="no",
        dynamo_backend="no",
        # Otherwise accelerate reads the number from the environment and divides gradients by it.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        # What only the first process does, such as scoring the reference, may take hours.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=2))],
        **settings,
    )
    if accelerator.num_processes != started:
        # Each process would train by itself on a part of the data, and all would write the same files.
        raise ConfigError(
            f"WORLD_SIZE says {started} processes, and accelerate found {accelerator.num_processes}",
            where="the environment of the processes",
            then="start them with accelerate launch or torchrun, on CPUs with ACCELERATE_USE_CPU=true",
        )
    return accelerator


def wait_for_all() -> None:
    """Wait until every process has reached this point."""
    if are_several():
        new_accelerator().wait_for_everyone()


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """Run a block in the first process alone, and then in the others, which find its results on disk."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def _are_connected() -> bool:
    """Whether the processes can exchange objects. In a dry run the first process is alone: the others have ended."""
    if not are_several():
        return False
    from torch import distributed

    return distributed.is_initialized()


def share_work(items: Sequence[A], work: Callable[[Sequence[A]], Sequence[B]]) -> list[B]:
    """The results of the work on all items. Each process works on a part of them, and all get all results."""
    if not _are_connected():
        return list(work(items))
    from torch import distributed

    count, rank = process_count(), distributed.get_rank()
    shares: list[Any] = [None] * count
    distributed.all_gather_object(shares, list(work(items[rank::count])))
    return [shares[place % count][place // count] for place in range(len(items))]


def from_first(compute: Callable[[], B]) -> B:
    """Compute a result in the first process only, and return it in all processes."""
    if not _are_connected():
        return compute()
    from torch import distributed

    results: list[Any] = [compute() if is_first() else None]
    distributed.broadcast_object_list(results, src=0)
    result: B = results[0]
    return result
