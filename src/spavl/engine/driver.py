"""The interface of an engine: its function, and how many shards run at once."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

EngineName = Literal["asyncio", "daft", "ray"]
Function = Callable[[Sequence[Any]], Sequence[Any]]

# Items per shard: few enough that a worker's death costs little, enough that messages cost little.
SHARD = 16


class Driver(NamedTuple):
    """How to call an engine: `run` takes up to `most` items, and is called in up to `at_once` threads."""

    run: Callable[[Sequence[Any]], list[Any]]
    most: int
    at_once: int
    close: Callable[[], None]


def cores() -> int:
    return len(os.sched_getaffinity(0))
