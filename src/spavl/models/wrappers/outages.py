"""Waits for a server that answered before and is down; one request probes it from time to time."""

from collections.abc import Callable

# An outage is this many failures in a row, without an answer, over at least this many seconds; or `_MANY` in a row.
_FAULTS, _SECONDS, _MANY = 5, 2.0, 32
_FIRST_LOOK, _LONGEST_LOOK = 1.0, 15.0


class CircuitBreaker:
    """The state of the server of one model at one address. Times are those of the caller's clock.

    The breaker does not wait for a server that never answered: its address may be wrong, or it may not be started.
    It does if the model answers at another address, since requests are then sent there.
    """

    def __init__(self, name: str, most: float, say: Callable[[str], None]) -> None:
        self._name, self._most, self._say = name, most, say
        self._was_there = False
        self._faults, self._since = 0, 0.0
        self._wait, self._next_look, self._looking, self._told_end = _FIRST_LOOK, 0.0, False, False
        self.away, self.reason = False, ""

    def seconds_away(self, now: float) -> float:
        return now - self._since if self.away else 0.0

    def gives_up(self, now: float) -> bool:
        """Whether the longest wait has passed. The first time, this is reported to the user."""
        is_over = self.seconds_away(now) > self._most
        if is_over and not self._told_end:
            self._told_end = True
            self._say(f"{self._name} has not answered for {_length(self._most)}, and is waited for no longer")
        return is_over

    def wait(self, now: float) -> float:
        """Seconds until the next probe may be sent; infinite while a probe is in flight."""
        return float("inf") if self._looking else max(0.0, self._next_look - now)

    def look(self) -> None:
        self._looking = True

    def end_look(self, now: float) -> None:
        """Record the end of a probe, whatever its result."""
        self._looking = False
        self._next_look, self._wait = now + self._wait, min(_LONGEST_LOOK, 2 * self._wait)

    def record_failure(self, now: float, reason: str, is_answered_elsewhere: bool = False) -> None:
        self._since = now if not self._faults else self._since
        self._faults, self.reason = self._faults + 1, reason
        is_out = self._faults >= _MANY or (self._faults >= _FAULTS and now - self._since >= _SECONDS)
        if self.away or not is_out or not (self._was_there or is_answered_elsewhere):
            return
        self.away, self._told_end, self._wait = True, False, _FIRST_LOOK
        self._next_look = now + self._wait
        what = "no longer answers" if self._was_there else "answers nothing"
        self._say(f"{self._name} {what} ({reason}): waiting for it, {_length(self._most)} at most")

    def record_answer(self, now: float) -> None:
        self._was_there = True
        self.heard(now)

    def heard(self, now: float) -> None:
        if self.away:
            self._say(f"{self._name} answers again after {_length(self.seconds_away(now))}: going on")
        self.away, self._faults = False, 0


def _length(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
