"""How fast a server is asked: so many at once, so many requests and tokens a minute.

The number at once is found, not set: it falls by a quarter when the server says "too many
requests" and climbs again by one after every 25 answers that went well.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from pydantic import Field

from spavl.config import Settings

_CLIMB_AFTER = 25
_SHRINK = 0.75
_COOL_DOWN = 2.0


class PaceConfig(Settings):
    at_once: int = Field(64, ge=1, description="most requests to one model of a server at the same time")
    requests_per_minute: float | None = Field(None, gt=0, description="limit of each model of a server, if it has one")
    tokens_per_minute: float | None = Field(None, gt=0, description="limit of each model of a server, if it has one")


class Bucket:
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


class Pace:
    """The shared pace of all requests to one model of a server."""

    def __init__(self, config: PaceConfig) -> None:
        self._most = config.at_once
        self.at_once = float(config.at_once)
        self._requests, self._tokens = Bucket(config.requests_per_minute), Bucket(config.tokens_per_minute)
        self._running, self._went_well = 0, 0
        self._cool_until = self._steady_until = 0.0
        self._changed = asyncio.Condition()
        self._closed = False

    @contextlib.asynccontextmanager
    async def place(self, tokens: int) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._running < int(self.at_once))
            self._running += 1
        try:
            wait = max(
                self._requests.wait_for(1),
                self._tokens.wait_for(tokens),
                self._cool_until - time.monotonic(),
            )
            if wait > 0:
                await asyncio.sleep(wait)
            if self._closed:
                raise asyncio.CancelledError
            yield
        finally:
            async with self._changed:
                self._running -= 1
                self._changed.notify_all()

    async def close(self) -> None:
        """Let no more requests through: those that waited for their turn are cancelled."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()

    def slow_down(self, retry_after: float | None) -> None:
        """The server said 429. Several of them within one cool-down are one word, and count once."""
        now, wait = time.monotonic(), _COOL_DOWN if retry_after is None else retry_after
        self._went_well = 0
        if now >= self._steady_until:
            self.at_once = max(1.0, self.at_once * _SHRINK)
            # However soon it may be asked again, the other 429s of this burst are still to come.
            self._steady_until = now + max(_COOL_DOWN, wait)
        self._cool_until = max(self._cool_until, now + wait)

    def went_well(self) -> None:
        self._went_well += 1
        if self._went_well >= _CLIMB_AFTER and self.at_once < self._most:
            self._went_well = 0
            self.at_once = min(float(self._most), self.at_once + 1)
