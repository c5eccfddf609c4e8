"""Runs shards with Daft: in threads on this machine, or on the nodes of a Ray cluster.

Daft moves only shard numbers and results. The shards themselves are read from a registry,
and on every machine a sandbox of workers processes them, so that a shard cannot crash the engine.
"""

import functools
import importlib
import os
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from spavl.engine import shard_server
from spavl.engine.driver import SHARD, Driver, Function, cores
from spavl.engine.sandbox import Sandbox, WorkerLimits, unpack_results
from spavl.errors import MissingExtra, how_to_install

# Shards per query, at least in total and per worker: enough to amortize the query's overhead, few enough for memory.
_SHARDS, _SHARDS_EACH = 64, 8
_sandboxes: dict[bytes, Sandbox] = {}


def daft_driver(engine: Literal["daft", "ray"], function: Function, workers: int, limits: WorkerLimits) -> Driver:
    daft = _daft_on(engine)
    task = pickle.dumps((function, workers, limits))
    server = shard_server.ShardServer(_address()) if engine == "ray" else None
    take = server.own_client.take if server else shard_server.take
    nodes = _cores_of_nodes() if engine == "ray" else [cores()]
    most = max(_SHARDS, _SHARDS_EACH * sum(workers or node for node in nodes))

    def on_all(numbers: Any) -> list[bytes]:
        return _process_shards(task, take, numbers.to_pylist())

    work = daft.func.batch(return_dtype=daft.DataType.binary(), batch_size=most, use_process=False)(on_all)

    def run(items: Sequence[Any]) -> list[Any]:
        shards = [items[start : start + SHARD] for start in range(0, len(items), SHARD)]
        with shard_server.holding(shards) as numbers:
            frame = daft.from_pydict({"number": numbers})
            if len(nodes) > 1:
                # One partition per machine: a Ray task can hold many shards, and each task has an overhead.
                frame = frame.into_partitions(len(nodes))
            found = frame.select("number", work(daft.col("number")).alias("results")).to_pydict()
        # A cluster returns rows in any order.
        in_order = [results for _, results in sorted(zip(found["number"], found["results"], strict=True))]
        return [result for results in in_order for result in unpack_results(results)]

    def close() -> None:
        # Sandboxes on other machines end with the process that Daft keeps there.
        if sandbox := _sandboxes.pop(task, None):
            sandbox.close()
        if server:
            server.close()

    return Driver(run, SHARD * most, 1, close)


def _process_shards(task: bytes, take: Callable[[int], bytes], numbers: Sequence[int]) -> list[bytes]:
    """Process shards on the machine where Daft put them. The sandbox is kept for later shards."""
    function, workers, limits = pickle.loads(task)
    at_once = workers or cores()
    if task not in _sandboxes:
        _sandboxes.setdefault(task, Sandbox(function, at_once, limits))
    sandbox = _sandboxes[task]
    # One more than can run, so that the next shard is ready when a worker is.
    with ThreadPoolExecutor(at_once + 1) as threads:
        return list(threads.map(lambda number: sandbox.run_packed(take(number)), numbers))


def _address() -> str:
    """This machine's IP address in the Ray cluster."""
    return str(importlib.import_module("ray").util.get_node_ip_address())


def _cores_of_nodes() -> list[int]:
    return [int(node["Resources"].get("CPU", 0)) for node in importlib.import_module("ray").nodes() if node["Alive"]]


@functools.lru_cache(maxsize=1)  # a process has one Daft runner, set once
def _daft_on(engine: Literal["daft", "ray"]) -> Any:
    # Daft reads these once, when it is imported. The stage has its own progress bar.
    os.environ |= {"DO_NOT_TRACK": "1", "DAFT_PROGRESS_BAR": "0"}
    daft = _import_package("daft", engine)
    if engine == "daft":
        daft.set_runner_native()
        return daft
    ray = _import_package("ray", engine)
    if not ray.is_initialized():
        # Without an address, Ray searches for the cluster last started here, for minutes if that was killed.
        address = os.environ.get("RAY_ADDRESS") or "local"
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    daft.set_runner_ray(noop_if_initialized=True)
    return daft


def _import_package(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        then = f'{how_to_install(extra)}, or take engine = "asyncio"'
        raise MissingExtra(f"this engine needs {package}", where=f'engine = "{extra}"', then=then) from None
