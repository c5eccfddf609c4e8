"""Learns how many requests per second a server accepts; there is no limit before it returns one.

A bucket that fills with time is empty at the moment in which its server says "too many requests". Between two such
moments it gave just what flowed in, so what was taken between them, divided by the time, is the limit. A little above
that is tried now and then, by slow steps: a step too far is told by one 429, and not by one for everyone who waits.
"""

from dataclasses import dataclass
from typing import NamedTuple

from spavl.text.http_headers import RateLimitHeaders, RemainingQuota

# However long a server asks to be left alone, by mistake or in earnest, it is asked again after this many seconds.
LONGEST_WAIT = 120.0

_SLOWEST = 0.1
# While a limit is looked for, the rate doubles in so many seconds, and grows by no more than this from one request to
# the next; by more where it was lowered in the dark, with nothing taken in between.
_DOUBLES_IN, _STEEPEST, _OUT_OF_THE_DARK = 0.5, 1.19, 2.0
# Once it is known: how fast more is tried, a second and a request, and how much faster the longer nothing objects.
_CREEP, _CREEP_PER_REQUEST, _BOLDER_IN = 0.02, 0.0025, 5.0
# So many requests between two 429s are enough to tell a rate.
_EVIDENCE = 3
# Where the server complained at so many times of what was measured after a pause, too little was measured to stop at.
_FAR = 4.0
# A little below what was measured, for so long at least; and for twenty pauses, which thus cost a twentieth at most.
_BELOW, _HOLD, _HOLD_PER_PAUSE, _HOLD_AT_FIRST = 0.96, 3.0, 20.0, 3.0
# Some servers give so much for each second. At the end of one it is waited so long for the next.
_NEXT_SECOND = 0.25
# 429s that come as before though the rate was lowered so often, or by so much, have another cause, unless they are very
# many. Where it is the limit itself that fell, this is found out by trying more.
_IN_VAIN, _MUCH_LOWER, _VERY_MANY, _LEAST_NOISE, _LATELY = 5, 0.5, 0.3, 0.1, 20
# An allowance that refills steadily (a token bucket) is used so many times faster than it would last until it is full.
# A bucket is told from a window by this: the moment at which it will be full moves, by more than so many seconds, as
# requests are taken. Servers round to whole seconds, so a smaller move says nothing.
_EAGER, _MOVED = 4.0, 1.5
# What a late timer missed may be caught up with, as on a busy machine, but no more.
_SLACK = 0.25


class SentRequest(NamedTuple):
    """A request by its number, and when it was sent."""

    number: int
    at: float


class HeardAllowance(NamedTuple):
    """What a server said of its limits, with the request that it said it to."""

    allowance: RateLimitHeaders
    sent: SentRequest


@dataclass
class LearnedRate:
    """Of one model at one address. Its clock is whatever its caller reads."""

    # None: no limit is known.
    per_second: float | None = None

    def __post_init__(self) -> None:
        self._sent, self._first_at, self._last_at = 0, 0.0, 0.0
        self._free_at = self._paused_until = self._held_until = self._grown_at = 0.0
        self._searching, self._dark, self._settled = True, False, False
        # The last request of which it is known that nothing was left when it came.
        self._empty: SentRequest | None = None
        # Seconds since then in which more might have been asked.
        self._idle = 0.0
        # 429s to requests up to this one were told of before the rate was lowered, and say the same.
        self._lowered_up_to = 0
        # The share of 429s lately, how often it did not help to go slower, and the share that has another cause.
        self._share, self._in_vain, self._noise = 0.0, 0, -1.0
        # The highest limit that was found since 429s were last ascribed to another cause.
        self._found = 0.0
        self._told: HeardAllowance | None = None
        self._most_room: dict[str, float] = {}
        # Of each allowance: when it will be full, as first said since it last grew, and what was left last.
        self._full_at: dict[str, tuple[float, float]] = {}
        # The allowances that are buckets.
        self._buckets: set[str] = set()
        # The longest time until an allowance is renewed.
        self._span: dict[str, float] = {}
        self._tokens = 1.0

    def due(self, now: float) -> float:
        """When the next request may be sent."""
        return max(self._free_at if self.per_second else 0.0, self._paused_until, self._due_by_headers(now))

    def send(self, now: float, tokens: float, ready: float | None = None) -> SentRequest:
        """A request is sent now, which could have been sent since it was ready, had the rate allowed it."""
        ready = now if ready is None else ready
        self._sent += 1
        self._tokens += (max(1.0, tokens) - self._tokens) / min(self._sent, 50)
        if self._sent == 1:
            self._first_at = now
        self._last_at = now
        if self.per_second:
            self._idle += max(0.0, ready - self._free_at)
            # Whoever asks less than it may learns nothing by it.
            self._grow(now, was_held=ready <= self._free_at)
            self._free_at = max(self._free_at, ready, now - _SLACK) + 1 / self.per_second
        return SentRequest(self._sent, now)

    def taken(self) -> None:
        self._share -= self._share / _LATELY

    def throttled(self, sent: SentRequest, now: float, pause: float | None) -> None:
        """The server said 429 to this request, and perhaps for how long it wants to be left alone."""
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
            self.per_second = max(_SLOWEST, self._lowered(sent, pause))
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
                    # A window that was renewed has another moment too.
                    before = full_at
                elif full_at > before + _MOVED:
                    self._buckets.add(name)
                self._full_at[name] = before, each.remaining
                self._span[name] = max(self._span.get(name, 0.0), each.reset)

    def _is_rounded(self, name: str, left: RemainingQuota) -> bool:
        """Whether a server never says more than a second, and whole ones: then it may mean any part of one."""
        return self._span[name] <= 1 and left.reset % 1 == 0

    def _is_noise(self, now: float) -> bool:
        """Whether 429s have nothing to do with the rate, as where a gateway sheds its load by chance."""
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
        """Whether this is the end of what a server gives for each second, of which it told a moment ago."""
        nothing_since = self._empty is not None and sent.number - self._empty.number <= _EVIDENCE
        return nothing_since and not self._searching and now - self._lowered_at < 1

    def _since_empty(self, sent: SentRequest) -> tuple[int, float]:
        """How many requests were taken since nothing was left, until this one was not, and in how many seconds."""
        if self._empty is None:
            return 0, 0.0
        return sent.number - self._empty.number - 1, sent.at - self._empty.at

    def _lowered(self, sent: SentRequest, pause: float) -> float:
        before = self.per_second or sent.number / max(0.01, sent.at - self._first_at + pause)
        taken, seconds = self._since_empty(sent)
        measured = taken / seconds if seconds > 0 else 0.0
        self._dark, self._searching = taken <= 0, taken < _EVIDENCE or seconds <= 0
        if self._searching:
            return max(before / 2, min(before, measured))
        # While less was asked than it may be, a bucket may have been full, and let nothing in: the first measure may be
        # far too low. That at which the server complained is too high. Later on both are nearly the same.
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
        """A window's remaining requests are spread over the time until it is renewed.

        A bucket's are used faster; at its own rate of refill a fifth of it remains.
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
                # It is renewed, and its server has not said yet what is left of it now.
                pace = 0.0 if name in self._buckets else self._span[name] * cost / max(1.0, most)
                latest = max(latest, self._last_at + pace)
                continue
            room, eager = each.remaining - cost * (self._sent - sent.number), 1.0
            if name in self._buckets:
                room, eager = room + (most - each.remaining) * age / each.reset, _EAGER
            latest = max(latest, self._last_at + (seconds * cost / room / eager if room > 0 else seconds))
        return latest
