"""Rate limits and retry times in HTTP headers."""

import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import NamedTuple

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LENGTH = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd])){1,5}")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
# A number above the first is a Unix time in seconds; above the second, a Unix time in milliseconds.
_MOMENT, _MOMENT_IN_MS = 1e9, 1e12


class RemainingQuota(NamedTuple):
    """The remaining part of a rate limit, and the seconds until it resets."""

    remaining: float
    reset: float
    # The whole limit; None if the server does not report it.
    limit: float | None


class RateLimitHeaders(NamedTuple):
    requests: RemainingQuota | None
    tokens: RemainingQuota | None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds to wait before a retry, which the server sends as a number or a date; None if it sends neither."""
    if (milliseconds := _number(headers.get("Retry-After-Ms", ""))) is not None:
        return milliseconds / 1000
    said = headers.get("Retry-After", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def allowance(headers: Mapping[str, str]) -> RateLimitHeaders | None:
    """The remaining rate limits of a server, from `x-ratelimit-remaining-requests` and its like or shorter names."""
    requests = _remaining_quota(headers, "X-RateLimit-{}-Requests") or _remaining_quota(headers, "X-RateLimit-{}")
    requests = requests or _remaining_quota(headers, "RateLimit-{}")
    found = RateLimitHeaders(requests, _remaining_quota(headers, "X-RateLimit-{}-Tokens"))
    return found if any(found) else None


def _remaining_quota(headers: Mapping[str, str], name: str) -> RemainingQuota | None:
    remaining = _number(headers.get(name.format("Remaining"), ""))
    reset = _seconds(headers.get(name.format("Reset"), ""))
    if remaining is None or not reset:
        return None
    return RemainingQuota(remaining, reset, _number(headers.get(name.format("Limit"), "")))


def _number(said: str) -> float | None:
    try:
        number = float(said)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _seconds(said: str) -> float | None:
    """A duration as servers write it: 12, 1.5, 20ms, 6m0s, or the Unix time at which it ends."""
    said = said.strip().lower()
    if (number := _number(said)) is not None:
        moment = number / 1000 if number > _MOMENT_IN_MS else number
        return max(0.0, moment - time.time()) if number > _MOMENT else number
    if not _LENGTH.fullmatch(said):
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(said))
