"""map_shards: every key once, never more under way than asked for, nothing left behind."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.engine import map_shards


async def _collect(
    keys: Iterable[int], function: Callable[[int], Awaitable[int]], in_flight: int
) -> list[tuple[int, int]]:
    return [pair async for pair in map_shards(keys, function, in_flight)]


@given(keys=st.lists(st.integers(0, 50), max_size=60), in_flight=st.integers(1, 9), pauses=st.randoms())
@settings(max_examples=40)
def test_every_key_comes_back_once_and_never_too_many_are_under_way(
    keys: list[int], in_flight: int, pauses: random.Random
) -> None:
    running = most = 0

    async def double(key: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(pauses.randrange(4)):
            await asyncio.sleep(0)
        running -= 1
        return 2 * key

    pairs = asyncio.run(_collect(keys, double, in_flight))
    assert Counter(pairs) == Counter((key, 2 * key) for key in keys)
    assert most <= in_flight


def test_keys_are_drawn_only_as_fast_as_results_leave() -> None:
    drawn, taken, ahead = 0, 0, 0

    def keys() -> Iterator[int]:
        nonlocal drawn
        for key in range(200_000):
            drawn += 1
            yield key

    async def same(key: int) -> int:
        return key

    async def consume() -> None:
        nonlocal taken, ahead
        async for _ in map_shards(keys(), same, 64):
            taken += 1
            ahead = max(ahead, drawn - taken)

    asyncio.run(consume())
    assert taken == 200_000
    assert ahead <= 64


def test_the_first_error_cancels_what_is_under_way_and_draws_no_more() -> None:
    drawn: list[int] = []
    ended: Counter[str] = Counter()

    async def work(key: int) -> int:
        try:
            if key == 3:
                await asyncio.sleep(0.01)
                raise ValueError("three")
            await asyncio.sleep(0 if key < 3 else 60)
        except asyncio.CancelledError:
            ended["cancelled"] += 1
            raise
        ended["done"] += 1
        return key

    def keys() -> Iterator[int]:
        for key in range(1000):
            drawn.append(key)
            yield key

    async def consume() -> list[int]:
        seen: list[int] = []
        with pytest.raises(ValueError, match="three"):
            async for key, _ in map_shards(keys(), work, 8):
                seen.append(key)
        assert len(asyncio.all_tasks()) == 1
        return seen

    assert sorted(asyncio.run(consume())) == [0, 1, 2]
    assert ended == {"done": 3, "cancelled": len(drawn) - 4}
    assert len(drawn) <= 12


def test_a_consumer_that_leaves_early_leaves_nothing_running() -> None:
    async def forever(key: int) -> int:
        await asyncio.sleep(60 if key else 0)
        return key

    async def consume() -> None:
        results = map_shards(range(10), forever, 5)
        async with contextlib.aclosing(results):
            async for _ in results:
                break
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(consume())


def test_an_error_in_drawing_keys_stops_the_map_like_any_other() -> None:
    def keys() -> Iterator[int]:
        yield 1
        raise OSError("the list of keys is gone")

    async def forever(_: int) -> int:
        await asyncio.sleep(60)
        return 0

    with pytest.raises(OSError, match="gone"):
        asyncio.run(_collect(keys(), forever, 4))
