"""Maps a function over many keys concurrently, in this process, with asyncio."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


_OBJECTS_PER_COLLECTION = 50_000


def map_shards(
    keys: Iterable[K], function: Callable[[K], Awaitable[V]], in_flight: int
) -> AsyncGenerator[tuple[K, V], None]:
    """Yield (key, result) in order of completion. Keys are read only as fast as results leave, to bound memory.

    The first error stops the whole map and cancels the calls under way. Results already yielded stay valid.
    """
    return map_streams([keys], function, in_flight)


async def map_streams(
    streams: Sequence[Iterable[K]], function: Callable[[K], Awaitable[V]], in_flight: int
) -> AsyncGenerator[tuple[K, V], None]:
    """Map over several streams of keys concurrently, each with up to `in_flight` calls of its own.

    A slow stream fills only its own slots, so it does not delay the others.
    """
    waiting = [iter(stream) for stream in streams]
    running: dict[asyncio.Future[V], tuple[int, K]] = {}
    ended: asyncio.Queue[asyncio.Future[V]] = asyncio.Queue()

    def start(stream: int) -> None:
        for key in islice(waiting[stream], 1):
            task = asyncio.ensure_future(function(key))
            running[task] = stream, key
            task.add_done_callback(ended.put_nowait)

    with few_collections():
        try:
            for _ in range(in_flight):
                for stream in range(len(waiting)):
                    start(stream)
            while running:
                task = await ended.get()
                stream, key = running.pop(task)
                yield key, task.result()
                start(stream)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Make Python's cyclic garbage collection rare.

    A thousand calls in flight are a hundred thousand young objects, none of them garbage. With the usual
    thresholds, Python would spend a third of the time scanning them and all modules.
    """
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
