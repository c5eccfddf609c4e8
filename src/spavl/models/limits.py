"""How fast a server is asked: so many at once, so many requests and tokens a minute.

The number at once is found, not set: it falls by a quarter when the server says "too many
requests" and climbs again by one after every 25 answers that went well.
"""

import asyncio
import time
from collections import deque

from pydantic import Field

from spavl.config import Settings

_CLIMB_AFTER = 25
_SHRINK = 0.75
_COOL_DOWN = 2.0
# However long a server asks to be left alone, by mistake or in earnest, it is asked again after this many seconds.
LONGEST_WAIT = 120.0


class PaceConfig(Settings):
    at_once: int = Field(64, ge=1, description="most requests to one model of a server at the same time")
    requests_per_minute: float | None = Field(None, gt=0, description="limit of each model of a server, if it has one")
    tokens_per_minute: float | None = Field(None, gt=0, description="limit of each model of a server, if it has one")
    longest_side: int = Field(
        1536,
        ge=64,
        description="images go to servers with their longer side at most so many pixels; smaller ones as they are",
    )
    longest_sides: dict[str, int] = Field(
        {}, description='the same for single models, by NAME or NAME@URL: {"gpt-4.1" = 2048}'
    )

    def side_of(self, name: str) -> int:
        """Of a model by its name, with or without its address."""
        return self.longest_sides.get(name, self.longest_sides.get(name.partition("@")[0], self.longest_side))


class BatchConfig(Settings):
    models: tuple[str, ...] = Field(
        (), description="models whose calls go through their server's batch API, for half the price, within a day"
    )
    requests: int = Field(50_000, ge=1, description="most requests in one file of a batch")
    megabytes: float = Field(150, gt=0, description="largest file of a batch")


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
        # What became of all requests so far, for whoever watches.
        self.answered = self.throttled = self.failed = 0
        self._cool_until = self._steady_until = 0.0
        # Those who wait for a place, in the order in which they came.
        self._turns: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def enter(self, tokens: int) -> None:
        """Wait for a place, and take it. Whoever entered must leave."""
        if self._closed:
            raise asyncio.CancelledError
        if self._turns or self._running >= int(self.at_once):
            await self._turn()
        else:
            self._running += 1
        try:
            await self._hold_back(tokens)
        except BaseException:
            self.leave()
            raise

    @property
    def in_flight(self) -> int:
        return self._running

    def leave(self) -> None:
        self._running -= 1
        while self._turns and self._running < int(self.at_once):
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                self._running += 1

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn came in the very moment in which it gave up
                self.leave()
            raise

    async def _hold_back(self, tokens: int) -> None:
        wait = max(self._requests.wait_for(1), self._tokens.wait_for(tokens), self._cool_until - time.monotonic())
        if wait > 0:
            await asyncio.sleep(wait)
        if self._closed:
            raise asyncio.CancelledError

    def close(self) -> None:
        """Let no more requests through: those that waited for their turn are cancelled."""
        self._closed = True
        while self._turns:
            self._turns.popleft().cancel()

    def slow_down(self, retry_after: float | None) -> None:
        """The server said 429. Several of them within one cool-down are one word, and count once."""
        self.throttled += 1
        now, wait = time.monotonic(), _COOL_DOWN if retry_after is None else min(retry_after, LONGEST_WAIT)
        self._went_well = 0
        if now >= self._steady_until:
            self.at_once = max(1.0, self.at_once * _SHRINK)
            # However soon it may be asked again, the other 429s of this burst are still to come.
            self._steady_until = now + max(_COOL_DOWN, wait)
        self._cool_until = max(self._cool_until, now + wait)

    def went_well(self) -> None:
        self.answered += 1
        self._went_well += 1
        if self._went_well >= _CLIMB_AFTER and self.at_once < self._most:
            self._went_well = 0
            self.at_once = min(float(self._most), self.at_once + 1)
