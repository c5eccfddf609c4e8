"""Limits the requests to a server: in flight, per minute, tokens per minute, and none while it is away.

Nothing has to be set for a server that has limits: how fast it may be asked is learned from what it says (rates.py).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydantic import Field

from spavl.config import Settings
from spavl.models.types import Outage
from spavl.models.wrappers.learned_rate import LearnedRate, SentRequest
from spavl.models.wrappers.outages import CircuitBreaker
from spavl.text.http_headers import RateLimitHeaders

_AT_FIRST = 32


class PaceConfig(Settings):
    at_once: int = Field(256, ge=1, description="requests in flight to one model of a server, at most")
    requests_per_minute: float | None = Field(None, gt=0, description="requests per minute to each model of a server")
    tokens_per_minute: float | None = Field(None, gt=0, description="tokens per minute of each model of a server")
    batch_here: int = Field(
        64, ge=1, description="batch size of models in this process; halved where memory does not suffice"
    )
    timeout: float = Field(300, gt=0, description="seconds after which a call without an answer is retried")
    wait_at_most: float = Field(1800, ge=0, description="seconds to wait for a server that answered before and is away")
    longest_side: int = Field(
        1536,
        ge=64,
        description="longer side in pixels of images sent to servers, at most; smaller images are sent unchanged",
    )


class BatchConfig(Settings):
    models: tuple[str, ...] = Field(
        (), description="models called through their server's batch API, at half the price, within a day"
    )
    requests: int = Field(50_000, ge=1, description="requests in one batch file, at most")
    megabytes: float = Field(150, gt=0, description="largest batch file, in MB")


class TokenBucket:
    """A minute's allowance that fills again as time passes; what is taken beyond it must be waited for."""

    def __init__(self, per_minute: float | None) -> None:
        self._rate = None if per_minute is None else per_minute / 60
        # A second's worth may be taken at once, so that a run does not begin with a burst of a whole minute.
        self._free_at = time.monotonic()

    def wait_for(self, amount: float) -> float:
        """Take the amount, and tell how long to wait before using it."""
        if self._rate is None:
            return 0.0
        now = time.monotonic()
        start = max(self._free_at, now - 1.0)
        self._free_at = start + amount / self._rate
        return max(0.0, start - now)


class RequestSlot(NamedTuple):
    """A request's place among those at a server. `looks`: it is sent to see whether the server is back."""

    sent: SentRequest
    looks: bool


class RateLimiter:
    """The shared pace of all requests to one model at one address."""

    def __init__(
        self, config: PaceConfig, name: str = "the server", say: Callable[[str], None] = lambda _: None
    ) -> None:
        # A server that is asked for the first time is not given all at once, for it may have a limit.
        self._most, self.at_once = config.at_once, min(config.at_once, _AT_FIRST)
        self._requests, self._tokens = TokenBucket(config.requests_per_minute), TokenBucket(config.tokens_per_minute)
        self.rate = LearnedRate()
        self.breaker = CircuitBreaker(name, config.wait_at_most, say)
        # The paces of the same model at other addresses, which are asked while this one is away.
        self.others: Sequence[RateLimiter] = ()
        self.in_flight = self.waiting = 0
        # What became of all requests so far, for whoever watches.
        self.answered = self.throttled = self.failed = 0
        # One waits at the gate, the others behind it in the order in which they came.
        self._gate = asyncio.Lock()
        self._news: asyncio.Future[None] | None = None
        self._closed = False
        # Until when all places were last taken.
        self._full_at = 0.0

    async def enter(self, tokens: float) -> RequestSlot:
        """Wait for a place, and take it. Whoever entered must leave."""
        self.waiting += 1
        ready = time.monotonic()
        try:
            async with self._gate:
                return await self._pass(tokens, ready)
        finally:
            self.waiting -= 1

    async def _pass(self, tokens: float, ready: float) -> RequestSlot:
        while True:
            if self._closed:
                raise asyncio.CancelledError
            now, away = time.monotonic(), self.breaker.away
            wait = self.breaker.wait(now) if away else self.rate.due(now) - now
            if away and wait > 0 and (self._is_elsewhere() or self.breaker.gives_up(now)):
                raise Outage(self.breaker.reason, given_up=not self._is_elsewhere())
            is_full = self.in_flight >= self.at_once
            if wait <= 0 and not is_full:
                break
            await self._wait_for_news(float("inf") if is_full else wait)
            self._full_at = time.monotonic() if is_full else self._full_at
        own = max(self._requests.wait_for(1), self._tokens.wait_for(tokens))
        self.in_flight += 1
        if away:
            self.breaker.look()
        place = RequestSlot(self.rate.send(now, tokens, max(ready, self._full_at)), away)
        if own > 0:
            try:
                await asyncio.sleep(own)
                if self._closed:
                    raise asyncio.CancelledError
            except BaseException:
                self.leave(place)
                raise
        return place

    def leave(self, place: RequestSlot) -> None:
        self.in_flight -= 1
        if place.looks:
            self.breaker.looked(time.monotonic())
        self._tell_news()

    def close(self) -> None:
        """Let no more requests through: those that waited for their turn are cancelled."""
        self._closed = True
        self._tell_news()

    def slow_down(self, place: RequestSlot, pause: float | None, allowance: RateLimitHeaders | None = None) -> None:
        """The server said 429."""
        self.failed += 1
        self.throttled += 1
        now = time.monotonic()
        # It is there; whether it answers is not known yet.
        self.breaker.heard(now)
        self.rate.throttled(place.sent, now, pause)
        self._hear(place, allowance)

    def went_well(self, place: RequestSlot, allowance: RateLimitHeaders | None = None) -> None:
        self.answered += 1
        self.at_once = min(self._most, self.at_once + 1)
        self.breaker.answered(time.monotonic())
        self.rate.taken()
        self._hear(place, allowance)

    def went_wrong(self, reason: str) -> None:
        self.failed += 1
        is_answered_elsewhere = any(other.answered and not other.breaker.away for other in self.others)
        self.breaker.failed(time.monotonic(), reason, is_answered_elsewhere)

    def _hear(self, place: RequestSlot, allowance: RateLimitHeaders | None) -> None:
        if allowance is not None:
            self.rate.hear(allowance, place.sent)

    @property
    def is_open(self) -> bool:
        """Whether a request that comes now would be sent: its server is there, or it is time to look."""
        return not self.breaker.away or self.breaker.wait(time.monotonic()) <= 0

    @property
    def load(self) -> float:
        """Seconds of work that it has, where its rate is known, or else what of its places is taken."""
        return (self.in_flight + self.waiting) / (self.rate.per_second or self.at_once)

    def _is_elsewhere(self) -> bool:
        return any(not other.breaker.away for other in self.others)

    async def _wait_for_news(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._news = news = loop.create_future()
        # A rate may rise meanwhile, so it is looked at again before long.
        bell = loop.call_later(min(seconds, 1.0), self._tell_news) if self.others or seconds < float("inf") else None
        try:
            await news
        finally:
            self._news = None
            if bell is not None:
                bell.cancel()

    def _tell_news(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
