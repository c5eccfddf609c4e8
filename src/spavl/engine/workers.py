"""Heavy work on bytes: items are gathered into shards and run in sandboxed workers, by the chosen engine.

The engines differ in where workers run: started by this process, or where Daft schedules a shard,
on this machine or on the nodes of a Ray cluster. The function and its results are the same.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from spavl.engine.driver import SHARD, Driver, EngineName, Function, cores
from spavl.engine.sandbox import Sandbox, WorkerLimits


class Workers:
    """Call it with an item and await the result. A free driver takes all items that wait by then."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._threads = ThreadPoolExecutor(driver.at_once)
        self._waiting: deque[tuple[Any, asyncio.Future[Any]]] = deque()
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def room(self) -> int:
        """The number of items that keeps all workers busy: those being processed, and as many that wait."""
        return 2 * self._driver.most * self._driver.at_once

    async def __call__(self, item: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._busy < self._driver.at_once:
            self._busy += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                # Items submitted at the same moment go into the same shard.
                await asyncio.sleep(0)
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._driver.most))]
                asked = [(item, answer) for item, answer in taken if not answer.done()]
                if asked:
                    await self._answer([item for item, _ in asked], [answer for _, answer in asked])
        finally:
            self._busy -= 1

    async def _answer(self, items: list[Any], answers: list["asyncio.Future[Any]"]) -> None:
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._threads, self._driver.run, items)
        except Exception as error:
            for answer in answers:
                if not answer.done():
                    answer.set_exception(error)
            return
        for answer, result in zip(answers, results, strict=True):
            if not answer.done():
                answer.set_result(result)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        # Workers first: a thread that waits for a worker ends when the worker does.
        self._driver.close()
        self._threads.shutdown(cancel_futures=True)


@asynccontextmanager
async def open_workers(
    engine: EngineName, function: Function, workers: int, limits: WorkerLimits
) -> AsyncIterator[Workers]:
    """Workers for a function of a shard. `workers=0` means one per core of each machine."""
    opened = Workers(_driver(engine, function, workers, limits))
    try:
        yield opened
    finally:
        opened.close()


def _driver(engine: EngineName, function: Function, workers: int, limits: WorkerLimits) -> Driver:
    if engine == "asyncio":
        count = workers or cores()
        sandbox = Sandbox(function, count, limits)
        # One more than can run, so that the next shard is ready when a worker is.
        return Driver(sandbox.run, SHARD, count + 1, sandbox.close)
    from spavl.engine.daft_driver import daft_driver  # loaded only if needed

    return daft_driver(engine, function, workers, limits)
