"""The processes of `accelerate launch`: all of them train, and the first one alone writes.

accelerate reads much from its environment, which `accelerate launch` fills from its options and from a file of the
user's. What the settings of a training decide is decided by them alone, and what would train otherwise is refused.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from spavl.errors import ConfigError, MissingExtra, how_to_install

A = TypeVar("A")
B = TypeVar("B")

_NEEDED = ("torch", "transformers", "accelerate", "peft")
# What would train in spavl's place, by the variable that asks for it.
_PLUGINS = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "accelerate's FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}
_DYNAMO, _PRECISION = "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_MIXED_PRECISION"
_ACCUMULATION = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
_YES = ("true", "1", "yes", "y", "on", "t")


def how_many() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def are_several() -> bool:
    return how_many() > 1


def is_first() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def refuse_plugins(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse what accelerate would put between the model and its gradients, before anything is computed."""
    asked = {variable: name for variable, name in _PLUGINS.items() if environment.get(variable, "").lower() in _YES}
    if environment.get(_DYNAMO, "no").lower() not in ("", "no"):
        asked[_DYNAMO] = "torch.compile (dynamo)"
    if environment.get(_PRECISION, "no").lower() == "fp8":
        asked[_PRECISION] = "FP8"
    for variable, name in asked.items():
        raise ConfigError(
            f"the environment asks accelerate for {name}, and spavl does not train with that",
            where=f"{variable}={environment[variable]}",
            then="start it with torchrun, or with accelerate launch --config_file of a configuration without it; "
            "training.loop.shard = true spreads the weights by spavl's own FSDP2",
        )


def check_packages() -> None:
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(f"training needs {package}", then=how_to_install("hf"))


def check_tracker(name: str) -> None:
    """See that the tracker that a training is to be sent to can be loaded, if one is named."""
    if not name:
        return
    from accelerate.tracking import get_available_trackers

    if name not in (found.value for found in get_available_trackers()):
        package = {"tensorboard": "tensorboardX"}.get(name, name)
        then = f"pip install {package}, or leave training.loop.tracker empty"
        raise MissingExtra(f"{name} is not installed", where="training.loop.tracker", then=then)


def overruled(precision: str, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """What accelerate's environment asks for and the settings decide otherwise, in words."""
    mixed, steps = environment.get(_PRECISION, "no").lower(), environment.get(_ACCUMULATION, "1")
    if mixed not in ("no", precision):
        yield f"{_PRECISION}={mixed} has no effect: training.loop.precision is {precision}"
    if steps != "1":
        yield f"{_ACCUMULATION}={steps} has no effect: training.batch_size says what is behind a step"


def new_accelerator(**settings: Any) -> Any:
    refuse_plugins()
    from accelerate import Accelerator  # loads torch, which whoever asks for the two above can do without
    from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

    started = how_many()
    accelerator = Accelerator(
        # The loop computes in the precision of its settings by itself, so that the reference is computed in the same.
        mixed_precision="no",
        dynamo_backend="no",
        # As a number it would be read from the environment, and the gradient divided by it.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        # What the first process does by itself, such as scoring the reference, may take hours.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=2))],
        **settings,
    )
    if accelerator.num_processes != started:
        # Each would train by itself, on a share of the data, and all would write the same files.
        raise ConfigError(
            f"WORLD_SIZE says {started} processes, and accelerate found {accelerator.num_processes}",
            where="the environment of the processes",
            then="start them with accelerate launch or torchrun, on CPUs with ACCELERATE_USE_CPU=true",
        )
    return accelerator


def wait_for_all() -> None:
    """Until every process has come here."""
    if are_several():
        new_accelerator().wait_for_everyone()


def _have_met() -> bool:
    """Whether there are others to work with: a dry run is done by the first process, while they are gone."""
    if not are_several():
        return False
    from torch import distributed

    return distributed.is_initialized()


def spread(items: Sequence[A], work: Callable[[Sequence[A]], Sequence[B]]) -> list[B]:
    """What the work gives for each item; each process does its share, and all get all."""
    if not _have_met():
        return list(work(items))
    from torch import distributed

    several, mine = how_many(), distributed.get_rank()
    shares: list[Any] = [None] * several
    distributed.all_gather_object(shares, list(work(items[mine::several])))
    return [shares[place % several][place // several] for place in range(len(items))]


def told_by_first(ask: Callable[[], B]) -> B:
    """What the first process finds, while the others wait for it."""
    if not _have_met():
        return ask()
    from torch import distributed

    told: list[Any] = [ask() if is_first() else None]
    distributed.broadcast_object_list(told, src=0)
    answer: B = told[0]
    return answer
