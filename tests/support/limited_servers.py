"""Servers with limits, in time that passes only when everyone waits for it: minutes of asking take no time at all.

with virtual_time():
    told = ask_all(Bucket(per_second=100, burst=20), calls=3000, latency=1.0)
"""

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from spavl.models.types import ChatModel, Reply, Request, Transient, ask_about
from spavl.models.wrappers.rate_limit import PaceConfig, RateLimiter
from spavl.models.wrappers.stack import RateLimited, Retrying
from spavl.text.http_headers import RateLimitHeaders, RemainingQuota


class _NoSelector(selectors.DefaultSelector):
    """Nothing ever comes from outside; waiting moves the clock."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everyone waits for ever"
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _NoSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


@contextlib.contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", loop.time)
        try:
            yield loop
        finally:
            loop.close()


class Ruling(NamedTuple):
    taken: bool
    retry_after: float | None = None
    allowance: RateLimitHeaders | None = None


Rule = Callable[[float], Ruling]


def bucket(per_second: float, burst: float, says: str = "") -> Rule:
    """A token bucket. `says`: what it tells of itself, `retry-after`, `whole seconds` or `headers`."""
    left, at = burst, None

    def rule(now: float) -> Ruling:
        nonlocal left, at
        left = min(burst, left + per_second * (now - (now if at is None else at)))
        at, taken = now, left >= 1
        left -= taken
        wait = None if taken else (1 - left) / per_second
        told = RemainingQuota(float(int(left)), (burst - left) / per_second, burst) if says == "headers" else None
        after = {"retry-after": wait, "whole seconds": wait and float(int(wait) + 1)}.get(says)
        return Ruling(taken, after, RateLimitHeaders(told, None) if told else None)

    return rule


def window(per_window: int, seconds: float, says: str = "") -> Rule:
    """So many a window, all of which is renewed at once."""
    used, number = 0, -1

    def rule(now: float) -> Ruling:
        nonlocal used, number
        if int(now // seconds) != number:
            used, number = 0, int(now // seconds)
        taken = used < per_window
        used += taken
        rest = seconds - now % seconds
        told = RemainingQuota(float(per_window - used), rest, float(per_window)) if says == "headers" else None
        return Ruling(
            taken, None if taken or says != "retry-after" else rest, RateLimitHeaders(told, None) if told else None
        )

    return rule


class Serving:
    """A backend behind such a rule. A 429 comes after `told_in` seconds, an answer after `latency`."""

    name = "limited"

    def __init__(self, rule: Rule, latency: float, told_in: float = 0.02) -> None:
        self._rule, self._latency, self._told_in = rule, latency, told_in
        self.taken: list[float] = []
        self.refused: list[float] = []

    async def ask(self, request: Request) -> Reply:
        now = time.monotonic()
        ruling = self._rule(now)
        (self.taken if ruling.taken else self.refused).append(now)
        if not ruling.taken:
            await asyncio.sleep(self._told_in)
            raise Transient("429", ruling.retry_after, throttled=True, allowance=ruling.allowance)
        await asyncio.sleep(self._latency)
        return Reply("yes", "stop", allowance=ruling.allowance)


async def ask_for(model: ChatModel, seconds: float, at_once: int = 512) -> None:
    """Ask without end for so long, as a stage does that has many rows in work."""

    async def worker(number: int) -> None:
        turn = 0
        while True:
            turn += 1
            await model.ask(ask_about(None, f"{number} {turn}"))

    workers = [asyncio.ensure_future(worker(number)) for number in range(at_once)]
    await asyncio.sleep(seconds)
    for each in workers:
        each.cancel()
    gone = await asyncio.gather(*workers, return_exceptions=True)
    for each in gone:
        if not isinstance(each, asyncio.CancelledError):
            raise each if isinstance(each, BaseException) else AssertionError


def asked_for(serving: Serving, seconds: float, config: PaceConfig | None = None) -> Serving:
    """What became of asking a server for so many seconds, with nothing set but what is given."""
    with virtual_time() as loop:
        model = Retrying(RateLimited(serving, RateLimiter(config or PaceConfig())))
        loop.run_until_complete(ask_for(model, seconds))
    return serving
