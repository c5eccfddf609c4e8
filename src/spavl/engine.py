"""Maps a function over keys, many at once: in this process, with asyncio."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


async def map_shards(
    keys: Iterable[K], function: Callable[[K], Awaitable[V]], in_flight: int
) -> AsyncIterator[tuple[K, V]]:
    """Yield (key, result) as results come. Keys are drawn only as fast as results leave, so memory stays flat.

    The first error stops the whole map: what is under way is cancelled, and what was yielded is done.
    """
    waiting = iter(keys)
    running: dict[asyncio.Future[V], K] = {}
    try:
        while True:
            for key in islice(waiting, in_flight - len(running)):
                running[asyncio.ensure_future(function(key))] = key
            if not running:
                return
            finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                yield running.pop(task), task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
