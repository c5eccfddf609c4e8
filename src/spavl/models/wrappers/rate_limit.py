"""Limits requests to a server: in flight, per minute, and tokens per minute; while it is down, only probes are sent.

A server's own rate limits do not have to be set: they are learned from its responses (learned_rate.py).
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
    """A quota per minute that refills continuously. What exceeds it has to wait."""

    def __init__(self, per_minute: float | None) -> None:
        self._rate = None if per_minute is None else per_minute / 60
        # The burst is the quota of one second, so that a run does not start with the quota of a whole minute.
        self._free_at = time.monotonic()

    def wait_for(self, amount: float) -> float:
        """Take the amount. Returns the seconds to wait before using it."""
        if self._rate is None:
            return 0.0
        now = time.monotonic()
        start = max(self._free_at, now - 1.0)
        self._free_at = start + amount / self._rate
        return max(0.0, start - now)


class RequestSlot(NamedTuple):
    """The slot of a request in flight. `looks`: the request is a probe of a server that was down."""

    sent: SentRequest
    looks: bool


class RateLimiter:
    """The rate limiter of all requests to one model at one address."""

    def __init__(
        self, config: PaceConfig, name: str = "the server", say: Callable[[str], None] = lambda _: None
    ) -> None:
        # Start with fewer requests in flight, since a new server may have a limit.
        self._most, self.at_once = config.at_once, min(config.at_once, _AT_FIRST)
        self._requests, self._tokens = TokenBucket(config.requests_per_minute), TokenBucket(config.tokens_per_minute)
        self.rate = LearnedRate()
        self.breaker = CircuitBreaker(name, config.wait_at_most, say)
        # The limiters of the same model at other addresses, which are used while this one is down.
        self.others: Sequence[RateLimiter] = ()
        self.in_flight = self.waiting = 0
        # The outcomes of all requests so far, for the progress display.
        self.answered = self.throttled = self.failed = 0
        # The first request waits inside the lock for its slot, the others for the lock, in the order of arrival.
        self._gate = asyncio.Lock()
        self._news: asyncio.Future[None] | None = None
        self._closed = False
        # When all slots were last in use.
        self._full_at = 0.0

    async def enter(self, tokens: float) -> RequestSlot:
        """Wait for a slot, and take it. The caller must call `leave` afterwards."""
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
            self.breaker.end_look(time.monotonic())
        self._tell_news()

    def close(self) -> None:
        """Send no more requests. Waiting ones are cancelled."""
        self._closed = True
        self._tell_news()

    def slow_down(self, place: RequestSlot, pause: float | None, allowance: RateLimitHeaders | None = None) -> None:
        """Record a 429."""
        self.failed += 1
        self.throttled += 1
        now = time.monotonic()
        # The server is up, but this does not show that it answers requests.
        self.breaker.heard(now)
        self.rate.record_throttling(place.sent, now, pause)
        self._hear(place, allowance)

    def went_well(self, place: RequestSlot, allowance: RateLimitHeaders | None = None) -> None:
        self.answered += 1
        self.at_once = min(self._most, self.at_once + 1)
        self.breaker.record_answer(time.monotonic())
        self.rate.record_acceptance()
        self._hear(place, allowance)

    def went_wrong(self, reason: str) -> None:
        self.failed += 1
        is_answered_elsewhere = any(other.answered and not other.breaker.away for other in self.others)
        self.breaker.record_failure(time.monotonic(), reason, is_answered_elsewhere)

    def _hear(self, place: RequestSlot, allowance: RateLimitHeaders | None) -> None:
        if allowance is not None:
            self.rate.hear(allowance, place.sent)

    @property
    def is_open(self) -> bool:
        """Whether a request would be sent now: the server is up, or a probe is due."""
        return not self.breaker.away or self.breaker.wait(time.monotonic()) <= 0

    @property
    def load(self) -> float:
        """The seconds of work queued here if the rate is known; otherwise the share of the slots in use."""
        return (self.in_flight + self.waiting) / (self.rate.per_second or self.at_once)

    def _is_elsewhere(self) -> bool:
        return any(not other.breaker.away for other in self.others)

    async def _wait_for_news(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._news = news = loop.create_future()
        # The rate may rise meanwhile, so it is checked again after a second at most.
        timer = loop.call_later(min(seconds, 1.0), self._tell_news) if self.others or seconds < float("inf") else None
        try:
            await news
        finally:
            self._news = None
            if timer is not None:
                timer.cancel()

    def _tell_news(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
