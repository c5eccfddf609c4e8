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
    """Yield (key, result) as results come. Keys are drawn only as fast as results leave, so memory stays flat.

    The first error stops the whole map: what is under way is cancelled, and what was yielded is done.
    """
    return map_streams([keys], function, in_flight)


async def map_streams(
    streams: Sequence[Iterable[K]], function: Callable[[K], Awaitable[V]], in_flight: int
) -> AsyncGenerator[tuple[K, V], None]:
    """Map over several streams of keys side by side, each with `in_flight` places of its own.

    A stream whose keys take long fills its own places and no others', so it can hold nobody up.
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
    """Let Python look for circular garbage now and then only.

    A thousand calls in flight are a hundred thousand young objects, none of them garbage; by its usual
    measure Python would look through them, and through all modules, for a third of the time.
    """
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
