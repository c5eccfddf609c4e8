"""Guarded workers: what kills one is named and the rest is done; every engine gives the same."""

import asyncio
import functools
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.inspect_image import FetchedImage, InspectedImage, RefusedImage, examine
from spavl.engine import EngineName, WorkerDeath, WorkerLimits, daft_driver, open_workers, shard_server
from spavl.engine.worker import write_message
from spavl.errors import InternalError, MissingExtra, how_to_install
from tests.support.images import JPEG, PNG, UNUSABLE, USABLE, encoded, photo
from tests.support.repository import ROOT

GB = 2**30


def work(shard: Sequence[Any]) -> list[Any]:
    """What a worker of these tests does with each item."""
    return [_one(item) for item in shard]


def _one(item: Any) -> Any:
    if item == "die":
        os.abort()
    if item == "eat":
        return len(bytearray(8 * GB))
    if item == "sleep":
        time.sleep(60)
    if item == "fail":
        raise ValueError("a fault of ours")
    if item == "lack":
        raise MissingExtra("this needs a package", then="pip install it")
    if item == "print":
        os.write(1, b"noise")
    return os.getpid() if item == "pid" else item


def ask(items: Sequence[Any], engine: EngineName = "asyncio", workers: int = 2, seconds: float = 20) -> list[Any]:
    async def all_of_them() -> list[Any]:
        async with open_workers(engine, work, workers, WorkerLimits(seconds, 2 * GB)) as opened:
            return await asyncio.gather(*map(opened, items))

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("engine", ["asyncio", "daft"])
def test_results_come_to_those_who_asked(engine: EngineName) -> None:
    items = [*range(100), "print", *range(100, 150)]
    assert ask(items, engine) == items


@pytest.mark.parametrize("engine", ["asyncio", pytest.param("daft", marks=pytest.mark.slow)])
def test_what_kills_a_worker_is_named_and_all_else_is_done(engine: EngineName) -> None:
    items = [*range(20), "die", *range(20), "eat", *range(20), "die"]
    told = {"die": WorkerDeath("killed_worker"), "eat": WorkerDeath("too_much_memory")}
    assert ask(items, engine) == [told.get(item, item) if isinstance(item, str) else item for item in items]


def test_what_takes_too_long_is_ended() -> None:
    began = time.monotonic()
    assert ask([1, "sleep", 2], seconds=3) == [1, WorkerDeath("too_slow"), 2]
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("engine", ["asyncio", pytest.param("daft", marks=pytest.mark.slow)])
def test_a_fault_of_ours_stops_the_run_and_a_missing_package_is_told(engine: EngineName) -> None:
    with pytest.raises(InternalError, match="a fault of ours"):
        ask(["fail"], engine)
    with pytest.raises(MissingExtra, match="needs a package"):
        ask(["lack"], engine)


def test_no_worker_outlives_its_run() -> None:
    pids = set(ask(["pid"] * 50))
    assert 1 <= len(pids) <= 2 and os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_no_worker_outlives_a_killed_run() -> None:
    script = "from tests.engine.test_workers import *\n"
    script += "print(*ask(['pid'] * 3), flush=True)\nask(['sleep', 'pid'], seconds=99)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        child.stdout.readline()
        workers = [int(pid) for pid in _children(child.pid)]
        child.kill()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def test_a_worker_whose_run_was_killed_before_it_looked_ends_too() -> None:
    """What is busy, and has another parent than the one that sent the work, ends within a second."""
    opening, gone = pickle.dumps((sys.path, 4 * GB, pickle.dumps(time.sleep))), 2**22 + 1
    command = [sys.executable, "-c", f"from spavl.engine.worker import main; main({gone})"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as worker:
        assert worker.stdin is not None
        write_message(worker.stdin, opening)
        write_message(worker.stdin, pickle.dumps(60))
        assert worker.wait(timeout=20) == 1


def _children(pid: int) -> list[str]:
    return [found for task in Path(f"/proc/{pid}/task").iterdir() for found in (task / "children").read_text().split()]


@pytest.mark.parametrize("engine", ["daft", "ray"])
def test_an_engine_that_is_not_installed_is_told(engine: EngineName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, engine, None)
    # Not through `ask`: what this process has opened before is kept.
    with pytest.raises(MissingExtra) as caught:
        daft_driver._daft_on.__wrapped__(engine)
    assert how_to_install(engine) in str(caught.value)


# --- images through the workers of each engine

RAWS = [
    *(FetchedImage(data, "") for data in USABLE.values()),
    *(FetchedImage(data, "a.jpg") for data, _ in UNUSABLE.values()),
    *(FetchedImage(encoded(photo(number, 80 + number), "JPEG"), "b.jpg") for number in range(60)),
    FetchedImage(PNG, "a.jpg"),
    FetchedImage(encoded(photo(side=400).resize((400, 60)), "PNG"), "wide.png"),
]


def looks(engine: EngineName, raws: Sequence[FetchedImage] = RAWS, **settings: Any) -> list[Any]:
    async def all_of_them() -> list[Any]:
        look = functools.partial(examine, DownloadsConfig(**settings))
        async with open_workers(engine, look, 2, WorkerLimits(60, 4 * GB)) as opened:
            return await asyncio.gather(*map(opened, raws))

    return asyncio.run(all_of_them())


def test_asyncio_and_daft_see_the_same() -> None:
    seen = looks("asyncio")
    assert looks("daft") == seen == examine(DownloadsConfig(), RAWS)
    assert {type(each) for each in seen} == {InspectedImage, RefusedImage}


@pytest.fixture
def two_nodes() -> Iterator[str]:
    """The address of a cluster of Ray whose two nodes are process trees of their own."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes.address
    nodes.shutdown()


@pytest.mark.slow
def test_daft_on_two_nodes_of_ray_sees_the_same_and_both_work(two_nodes: str) -> None:
    script = """if True:
        from tests.engine.test_workers import *
        seen, pids = looks("ray"), ask(["pid"] * 64, "ray", workers=1)
        print(json.dumps([*map(repr, seen), len(set(pids))]))
    """
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "RAY_ADDRESS": two_nodes}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [*map(repr, looks("asyncio")), 2]


def test_shards_are_handed_to_those_with_the_key_and_to_no_others() -> None:
    server = shard_server.ShardServer("127.0.0.1")
    try:
        with shard_server.holding([[b"x" * 10**6], [2]]) as numbers:
            assert [pickle.loads(server.own_client.take(number)) for number in numbers] == [[b"x" * 10**6], [2]]
            with pytest.raises(ConnectionError):
                server.own_client._replace(key=bytes(32)).take(numbers[0])
        with pytest.raises(ConnectionError):
            server.own_client.take(numbers[0])
    finally:
        server.close()


def test_a_clean_image_does_not_travel_back() -> None:
    (clean, dirty) = looks("asyncio", [FetchedImage(JPEG, "a.jpg"), FetchedImage(JPEG + b"more", "a.jpg")])
    assert clean.data is None and dirty.data == JPEG
