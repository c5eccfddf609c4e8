"""The processes of `accelerate launch`: all of them train, and the first one alone writes."""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def how_many() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def are_several() -> bool:
    return how_many() > 1


def is_first() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def new_accelerator(**settings: Any) -> Any:
    from accelerate import Accelerator  # loads torch, which whoever asks for the two above can do without
    from accelerate.utils import InitProcessGroupKwargs

    # What the first process does by itself, such as scoring the reference, may take hours.
    return Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=2))], **settings)


def wait_for_all() -> None:
    """Until every process has come here."""
    if are_several():
        new_accelerator().wait_for_everyone()


def _have_met() -> bool:
    """Whether there are others to work with: a rehearsal is done by the first process, while they are gone."""
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
