"""Limits the rate of requests to each host, however many candidates it has."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

_LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class _Host:
    turns: asyncio.Semaphore
    users: int = 0
    free_at: float = field(default=0.0)


class HostThrottle:
    """Remembers only hosts that are in use or paused, because a list of URLs may name millions of hosts."""

    def __init__(self, at_once: int, min_delay: float) -> None:
        self._at_once, self._between = at_once, min_delay
        self._hosts: dict[str, _Host] = {}

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        host = self._hosts.setdefault(name, _Host(asyncio.Semaphore(self._at_once)))
        host.users += 1
        try:
            async with host.turns:
                now = asyncio.get_running_loop().time()
                starts = max(now, host.free_at)
                host.free_at = starts + self._between
                await asyncio.sleep(starts - now)
                yield
        finally:
            host.users -= 1
            asyncio.get_running_loop().call_later(self._seconds_until_free(host), self._forget, name)

    def pause(self, name: str, seconds: float) -> None:
        """Send no request to a host for some seconds, at most a minute, after it reported overload."""
        if host := self._hosts.get(name):
            wait = min(max(seconds, 0.0), _LONGEST_PAUSE)
            host.free_at = max(host.free_at, asyncio.get_running_loop().time() + wait)

    def _seconds_until_free(self, host: _Host) -> float:
        return max(0.0, host.free_at - asyncio.get_running_loop().time())

    def _forget(self, name: str) -> None:
        host = self._hosts.get(name)
        if host and not host.users and not self._seconds_until_free(host):
            del self._hosts[name]
