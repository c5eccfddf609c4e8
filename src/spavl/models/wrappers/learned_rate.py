"""Learns how many requests per second a server accepts. There is no limit until the server returns a 429.

A token bucket is empty at the moment when its server returns 429. Between two such moments it gave out what was
refilled, so the requests accepted between them, divided by the time, are the limit. Slightly higher rates are tried
from time to time, in small steps: a step too far then causes a single 429, and not one for every waiting request.
"""

from dataclasses import dataclass
from typing import NamedTuple

from spavl.text.http_headers import RateLimitHeaders, RemainingQuota

# Seconds. If a server asks the client to wait longer than this, it is asked again after this time.
LONGEST_WAIT = 120.0

_SLOWEST = 0.1
# While the limit is searched: the seconds in which the rate doubles; the largest growth from one request to the next;
# and that growth after the rate was lowered although no request had been accepted since the last 429.
_DOUBLES_IN, _STEEPEST, _OUT_OF_THE_DARK = 0.5, 1.19, 2.0
# Once the limit is known: growth per second and per request, and the seconds without a 429 in which growth accelerates.
_CREEP, _CREEP_PER_REQUEST, _BOLDER_IN = 0.02, 0.0025, 5.0
# The number of requests between two 429s that is enough to measure a rate.
_EVIDENCE = 3
# If the rate at the 429 was more than this many times a measurement with idle time, the search goes on.
_FAR = 4.0
# The share of the measured rate that is used after a 429, and the seconds for which it is kept at least. It is kept
# for twenty times the pause, too, so that pauses take a twentieth of the time at most; three times while searching.
_BELOW, _HOLD, _HOLD_PER_PAUSE, _HOLD_AT_FIRST = 0.96, 3.0, 20.0, 3.0
# Some servers have a quota per second. When it is used up, this is the wait in seconds for the next one.
_NEXT_SECOND = 0.25
# If 429s continue after the rate was lowered `_IN_VAIN` times, or below `_MUCH_LOWER` of the highest limit found, they
# have another cause than the rate, unless their share is at least `_VERY_MANY`. If instead the limit itself fell, the
# search that follows finds it. `_LATELY` is the number of requests over which the share is averaged.
_IN_VAIN, _MUCH_LOWER, _VERY_MANY, _LEAST_NOISE, _LATELY = 5, 0.5, 0.3, 0.1, 20
# A quota that refills steadily (a token bucket) is used `_EAGER` times faster than one that is renewed at once (a
# window). A quota is a bucket if the time at which it will be full moves by more than `_MOVED` seconds as requests are
# accepted. Servers round to whole seconds, so a smaller move is no evidence.
_EAGER, _MOVED = 4.0, 1.5
# Seconds of delay of a late timer, as on a busy machine, that are caught up.
_SLACK = 0.25


class SentRequest(NamedTuple):
    """The number of a request, and the time when it was sent."""

    number: int
    at: float


class HeardAllowance(NamedTuple):
    """The quota in the headers of a response, and the request it belongs to."""

    allowance: RateLimitHeaders
    sent: SentRequest


@dataclass
class LearnedRate:
    """The learned rate of one model at one address. Times are those of the caller's clock."""

    # None: no limit is known.
    per_second: float | None = None

    def __post_init__(self) -> None:
        self._sent, self._first_at, self._last_at = 0, 0.0, 0.0
        self._free_at = self._paused_until = self._held_until = self._grown_at = 0.0
        self._searching, self._dark, self._settled = True, False, False
        # The last request with a 429: the quota was empty when it arrived.
        self._empty: SentRequest | None = None
        # Seconds since then in which more requests could have been sent.
        self._idle = 0.0
        # Requests up to this one were sent before the rate was lowered, so that their 429s are not new information.
        self._lowered_up_to = 0
        # The recent share of 429s, how often lowering the rate did not help, and the share that has another cause
        # (negative if none).
        self._share, self._in_vain, self._noise = 0.0, 0, -1.0
        # The highest limit that was found since 429s were last ascribed to another cause.
        self._found = 0.0
        self._told: HeardAllowance | None = None
        self._most_room: dict[str, float] = {}
        # For each quota: when it will be full, as first reported since it last grew, and what remained last.
        self._full_at: dict[str, tuple[float, float]] = {}
        # The quotas that are buckets.
        self._buckets: set[str] = set()
        # For each quota, the longest time until it is renewed.
        self._span: dict[str, float] = {}
        self._tokens = 1.0

    def due(self, now: float) -> float:
        """When the next request may be sent."""
        return max(self._free_at if self.per_second else 0.0, self._paused_until, self._due_by_headers(now))

    def send(self, now: float, tokens: float, ready: float | None = None) -> SentRequest:
        """Record that a request is sent now. It has been ready to be sent since `ready`."""
        ready = now if ready is None else ready
        self._sent += 1
        self._tokens += (max(1.0, tokens) - self._tokens) / min(self._sent, 50)
        if self._sent == 1:
            self._first_at = now
        self._last_at = now
        if self.per_second:
            self._idle += max(0.0, ready - self._free_at)
            # The rate grows only if it delayed the request: otherwise a higher one would not be tested.
            self._grow(now, was_held=ready <= self._free_at)
            self._free_at = max(self._free_at, ready, now - _SLACK) + 1 / self.per_second
        return SentRequest(self._sent, now)

    def record_acceptance(self) -> None:
        self._share -= self._share / _LATELY

    def record_throttling(self, sent: SentRequest, now: float, pause: float | None) -> None:
        """Record a 429 for this request. `pause` is the wait that the server asked for, if any."""
        self._share += (1 - self._share) / _LATELY
        pause = min(pause or 0.0, LONGEST_WAIT)
        if sent.number <= self._lowered_up_to and self._noise < 0:
            self._paused_until = max(self._paused_until, now + pause)
        elif sent.number > self._lowered_up_to and self._is_same_second(sent, now):
            self._lowered_up_to = self._sent
            self._paused_until = max(self._paused_until, now + max(pause, _NEXT_SECOND))
        elif sent.number > self._lowered_up_to and not self._is_noise(now):
            self._lowered_at = now
            hold = pause * (_HOLD_AT_FIRST if self._searching else _HOLD_PER_PAUSE)
            self.per_second = max(_SLOWEST, self._lowered_rate(sent, pause))
            self._lowered_up_to = self._sent
            self._paused_until = max(self._paused_until, now + pause)
            self._held_until = now + max(_HOLD, hold)
            self._free_at = self._grown_at = max(self._paused_until, now + 1 / self.per_second)
        if self._empty is None or sent.number > self._empty.number:
            self._empty, self._idle = sent, max(0.0, self._paused_until - now)

    def hear(self, allowance: RateLimitHeaders, sent: SentRequest) -> None:
        if self._told is not None and sent.number < self._told.sent.number:
            return
        self._told = HeardAllowance(allowance, sent)
        for name, each in allowance._asdict().items():
            if each is not None:
                full_at = sent.at + each.reset
                before, left = self._full_at.get(name, (full_at, each.remaining))
                if each.remaining > left or sent.at >= before:
                    # A window that was renewed has another time too.
                    before = full_at
                elif full_at > before + _MOVED:
                    self._buckets.add(name)
                self._full_at[name] = before, each.remaining
                self._span[name] = max(self._span.get(name, 0.0), each.reset)

    def _is_rounded(self, name: str, left: RemainingQuota) -> bool:
        """Whether a server reports resets of at most one second, in whole seconds: it may mean any fraction of one."""
        return self._span[name] <= 1 and left.reset % 1 == 0

    def _is_noise(self, now: float) -> bool:
        """Whether 429s do not depend on the rate, as when a gateway sheds load at random."""
        if self._share <= 2 * self._noise + 0.05 and self._noise >= 0:
            return True
        came_all_the_same = not self._searching and now < self._held_until
        self._in_vain = self._in_vain + 1 if came_all_the_same else 0
        is_much_lower = (self.per_second or 0.0) < _MUCH_LOWER * self._found
        is_noise = (self._in_vain >= _IN_VAIN or is_much_lower) and self._share < _VERY_MANY
        self._noise = max(self._share, _LEAST_NOISE) if is_noise else -1.0
        if is_noise:
            self._searching, self._in_vain, self._found = True, 0, 0.0
        return is_noise

    def _is_same_second(self, sent: SentRequest, now: float) -> bool:
        """Whether a 429 shows that the quota of the current second is used up, which lowered the rate a moment ago."""
        nothing_since = self._empty is not None and sent.number - self._empty.number <= _EVIDENCE
        return nothing_since and not self._searching and now - self._lowered_at < 1

    def _since_empty(self, sent: SentRequest) -> tuple[int, float]:
        """The number of requests between the last 429 and this one, and the seconds between them."""
        if self._empty is None:
            return 0, 0.0
        return sent.number - self._empty.number - 1, sent.at - self._empty.at

    def _lowered_rate(self, sent: SentRequest, pause: float) -> float:
        before = self.per_second or sent.number / max(0.01, sent.at - self._first_at + pause)
        taken, seconds = self._since_empty(sent)
        measured = taken / seconds if seconds > 0 else 0.0
        self._dark, self._searching = taken <= 0, taken < _EVIDENCE or seconds <= 0
        if self._searching:
            return max(before / 2, min(before, measured))
        # While fewer requests are sent than allowed, a bucket may be full and not refill: the first measurement may be
        # far too low. The rate at which the server returned 429 is too high. Later both are nearly equal.
        idle = 0.0 if self._settled else min(self._idle, seconds / 2)
        low = min(before, (measured + taken / (seconds - idle)) / 2)
        self._searching = idle > seconds / 4 and before > _FAR * low
        self._settled = self._settled or not self._searching
        lowered = _BELOW * (low + min(before, 2 * low)) / 2
        self._found = max(self._found, lowered)
        return lowered

    def _grow(self, now: float, was_held: bool) -> None:
        assert self.per_second
        passed, self._grown_at = now - self._grown_at, now
        if passed <= 0 or not was_held:
            return
        if self._searching:
            steepest = _OUT_OF_THE_DARK if self._dark else _STEEPEST
            self.per_second *= min(steepest, 2 ** (passed / _DOUBLES_IN))
        elif now > self._held_until:
            bold = (1 + (now - self._held_until) / _BOLDER_IN) ** 2
            self.per_second *= min(_STEEPEST, 1 + bold * min(_CREEP * passed, _CREEP_PER_REQUEST))

    def _due_by_headers(self, now: float) -> float:
        """When the next request is due by the quotas in headers.

        The remaining requests of a window are spread over the time until it is renewed. Those of a bucket are used
        faster; when requests come at the rate of its refill, a fifth of it remains.
        """
        if self._told is None:
            return 0.0
        (allowance, sent), latest = self._told, 0.0
        for name, each in allowance._asdict().items():
            if each is None or each.reset > LONGEST_WAIT or self._is_rounded(name, each):
                continue
            self._most_room[name] = most = max(self._most_room.get(name, 0.0), each.limit or 0.0, each.remaining)
            age, cost = now - sent.at, self._tokens if name == "tokens" else 1.0
            seconds = each.reset - age
            if seconds <= 0:
                # The quota was renewed, and no response has reported the new value yet.
                pace = 0.0 if name in self._buckets else self._span[name] * cost / max(1.0, most)
                latest = max(latest, self._last_at + pace)
                continue
            room, eager = each.remaining - cost * (self._sent - sent.number), 1.0
            if name in self._buckets:
                room, eager = room + (most - each.remaining) * age / each.reset, _EAGER
            latest = max(latest, self._last_at + (seconds * cost / room / eager if room > 0 else seconds))
        return latest
