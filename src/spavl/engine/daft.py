"""Lets Daft place the shards: in its threads on this machine, or on the nodes of a Ray cluster.

Each shard is one row of bytes, and so is its result. Daft moves rows and no more: on every
machine a sandbox of workers does the work, so that nothing a shard does can hurt the engine.
"""

import functools
import importlib
import os
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from spavl.engine.sandbox import Limits, Sandbox, opened, packed
from spavl.engine.workers import SHARD, Driver, Function, cores
from spavl.errors import MissingExtra

# Shards of one query: enough to keep a cluster busy, few enough to hold in memory.
_SHARDS = 64
_sandboxes: dict[bytes, Sandbox] = {}


def daft_driver(engine: Literal["daft", "ray"], function: Function, workers: int, limits: Limits) -> Driver:
    daft = _daft_on(engine)
    task = pickle.dumps((function, workers, limits))

    def on_all(shards: Any) -> list[bytes]:
        return _worked(task, shards.to_pylist())

    work = daft.func.batch(return_dtype=daft.DataType.binary(), batch_size=_SHARDS, use_process=False)(on_all)

    def run(items: Sequence[Any]) -> list[Any]:
        shards = [packed(items[start : start + SHARD]) for start in range(0, len(items), SHARD)]
        frame = daft.from_pydict({"place": list(range(len(shards))), "shard": shards})
        if engine == "ray":
            # One for each machine: in a task of Ray's there is room for many shards, and each task has a price.
            frame = frame.into_partitions(_machines())
        found = frame.select("place", work(daft.col("shard")).alias("results")).to_pydict()
        # A cluster gives rows back as they come.
        in_order = [results for _, results in sorted(zip(found["place"], found["results"], strict=True))]
        return [result for results in in_order for result in opened(results)]

    return Driver(run, SHARD * _SHARDS, 1, functools.partial(_close, task))


def _worked(task: bytes, shards: Sequence[bytes]) -> list[bytes]:
    """Runs wherever Daft put the shards; the sandbox stays for the next ones."""
    function, workers, limits = pickle.loads(task)
    at_once = workers or cores()
    if task not in _sandboxes:
        _sandboxes.setdefault(task, Sandbox(function, at_once, limits))
    # One more than can run, so that the next shard is ready when a worker is.
    with ThreadPoolExecutor(at_once + 1) as threads:
        return list(threads.map(_sandboxes[task].run_packed, shards))


def _close(task: bytes) -> None:
    # Those on other machines end with the process that Daft keeps there.
    if sandbox := _sandboxes.pop(task, None):
        sandbox.close()


def _machines() -> int:
    return sum(bool(node["Alive"]) for node in importlib.import_module("ray").nodes())


@functools.lru_cache(maxsize=1)  # a process has one runner of Daft, set once
def _daft_on(engine: Literal["daft", "ray"]) -> Any:
    # Daft reads them once, when it is imported. The stage has a bar of its own.
    os.environ |= {"DO_NOT_TRACK": "1", "DAFT_PROGRESS_BAR": "0"}
    daft = _imported("daft", engine)
    if engine == "daft":
        daft.set_runner_native()
        return daft
    ray = _imported("ray", engine)
    if not ray.is_initialized():
        # The cluster of RAY_ADDRESS, or one on this machine.
        ray.init(log_to_driver=False, logging_level="ERROR")
    daft.set_runner_ray(noop_if_initialized=True)
    return daft


def _imported(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        then = f'pip install "spavl[{extra}]", or take engine = "asyncio"'
        raise MissingExtra(f"this engine needs {package}", where=f'engine = "{extra}"', then=then) from None
