"""Servers with limits are asked as fast as they allow, with nothing set. In virtual time: see limited.py."""

import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.models.wrappers.learned_rate import LONGEST_WAIT, LearnedRate
from spavl.models.wrappers.rate_limit import PaceConfig
from spavl.text.http_headers import RateLimitHeaders, RemainingQuota, allowance, retry_after
from tests.support.limited_servers import Rule, Ruling, Serving, asked_for, bucket, virtual_time, window

# How the limit is told, the limit a second, the rule and the latency. A window gives its whole share at once.
SHAPES = {
    "100/s, burst 20": (100, bucket(100, 20), 1.0),
    "100/s, burst 20, told when to come again": (100, bucket(100, 20, "retry-after"), 1.0),
    "100/s, burst 20, told so in headers": (100, bucket(100, 20, "headers"), 1.0),
    "20/s, burst 20": (20, bucket(20, 20), 1.0),
    "20/s, burst 5, told in whole seconds": (20, bucket(20, 5, "whole seconds"), 0.1),
    "600 a minute, all at once or not": (10, bucket(10, 600), 2.0),
    "1 a second and no burst": (1, bucket(1, 1), 2.0),
    "50 in each second": (50, window(50, 1, "retry-after"), 0.3),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_limit_is_found_and_used_with_nothing_set(shape: str) -> None:
    per_second, rule, latency = SHAPES[shape]
    seconds = 60 if per_second > 1 else 180
    served = asked_for(Serving(rule, latency), seconds)
    start = served.taken[0]
    later = [at for at in served.taken if at >= start + seconds / 4]
    refused = [at for at in served.refused if at >= start + seconds / 4]
    assert len(served.taken) >= 0.85 * per_second * seconds
    assert len(later) >= 0.85 * 0.75 * per_second * seconds
    # A 429 now and then tells where the limit is. The first seconds, in which it is looked for, have more.
    assert len(refused) <= 0.06 * len(later) + 5
    assert len(served.refused) <= 100


def test_a_minute_that_is_used_up_is_waited_for_and_the_next_one_used() -> None:
    # It begins 20 s before the end of a minute.
    served = asked_for(Serving(window(600, 60), 1.0), 135)
    assert len(served.taken) >= 0.95 * 3 * 600
    assert len(served.refused) <= 300


@pytest.mark.parametrize("rule", [bucket(10, 600, "headers"), window(600, 60, "headers"), bucket(1, 60, "headers")])
def test_a_server_that_tells_what_is_left_is_never_asked_too_often(rule: Rule) -> None:
    served = asked_for(Serving(rule, 0.5), 120)
    assert len(served.refused) <= 20
    at_rest = [at for at in served.taken if at >= served.taken[0] + 60]
    assert len(at_rest) >= 0.9 * (60 if len(served.taken) < 300 else 600)


@pytest.mark.parametrize(("per_second", "burst"), [(10, 600), (1, 60)])
def test_what_a_server_says_it_has_saved_up_is_used_within_a_minute(per_second: int, burst: int) -> None:
    served = asked_for(Serving(bucket(per_second, burst, "headers"), 1.0), 60)
    assert len(served.taken) >= 0.85 * (60 * per_second + burst)
    assert len(served.refused) <= 20


def test_a_window_that_is_renewed_is_not_taken_for_a_bucket() -> None:
    """Less is left in the new one than was in the old one, and its moment lies a minute later."""
    rate = LearnedRate()
    for now, left in [(0.0, 599), (1.0, 598), (61.0, 590), (62.0, 580), (122.0, 570)]:
        sent = rate.send(now, 10.0)
        rate.hear(RateLimitHeaders(RemainingQuota(left, 60 - now % 60, 600), None), sent)
    assert rate.due(122.0) - 122.0 == pytest.approx(58 / 570), "a bucket's would be used four times as fast"


def test_after_a_pause_those_who_waited_do_not_come_all_at_once() -> None:
    served = asked_for(Serving(bucket(20, 20, "whole seconds"), 1.0), 30)
    told = served.refused[0]
    after = [at for at in served.taken if told + 0.5 < at < told + 3]
    assert after
    assert all(sum(at <= other < at + 0.1 for other in after) <= 15 for at in after)


def test_a_window_that_is_renewed_meets_no_burst() -> None:
    served = asked_for(Serving(window(100, 10, "headers"), 0.5), 60)
    assert len(served.refused) <= 0.02 * len(served.taken)
    assert len(served.taken) >= 0.9 * 600


def _in_whole_seconds(rule: Rule) -> Rule:
    def rounded(now: float) -> Ruling:
        ruling = rule(now)
        assert ruling.allowance is not None and ruling.allowance.requests is not None
        left = ruling.allowance.requests
        return ruling._replace(allowance=RateLimitHeaders(left._replace(reset=math.ceil(left.reset)), None))

    return rounded


@pytest.mark.parametrize("rule", [bucket(20, 5, "headers"), window(50, 1, "headers")])
def test_a_second_that_may_be_any_part_of_one_slows_nothing_down(rule: Rule) -> None:
    served = asked_for(Serving(_in_whole_seconds(rule), 0.5), 60)
    assert len(served.taken) >= 0.85 * 60 * (50 if len(served.taken) > 1500 else 20)


@pytest.mark.parametrize("seed", range(4))
def test_429s_by_chance_slow_no_bucket_down_that_tells_what_is_left(seed: int) -> None:
    rng, rule = random.Random(seed), bucket(100, 20, "headers")

    def moody(now: float) -> Ruling:
        ruling = rule(now)
        return ruling if rng.random() >= 0.02 else ruling._replace(taken=False, retry_after=0.5)

    served = asked_for(Serving(moody, 0.5), 60)
    assert len(served.taken) >= 0.6 * 100 * 60


@pytest.mark.parametrize("share", [0.02, 0.08, 0.15])
@pytest.mark.parametrize("seed", range(4))
def test_429s_by_chance_do_not_slow_a_run_down(share: float, seed: int) -> None:
    """A gateway that sheds a share of all it is asked, whatever the rate."""
    rng = random.Random(seed)
    served = asked_for(Serving(lambda _: Ruling(rng.random() >= share), 0.1), 30, PaceConfig(at_once=32))
    assert len(served.taken) >= 0.5 * 320 * 30


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
@pytest.mark.slow
def test_a_slow_rate_is_left_again_where_429s_come_by_chance(seed: int) -> None:
    """A rate of one a second has few requests in which to see that going slower does not help."""
    rng, slow, began = random.Random(seed), bucket(1, 1), 1060.0

    def rule(now: float) -> Ruling:
        return slow(now) if now < began else Ruling(rng.random() >= 0.1)

    served = asked_for(Serving(rule, 0.1), 360, PaceConfig(at_once=32))
    assert len([at for at in served.taken if at >= began + 240]) >= 0.5 * 320 * 60


def test_a_limit_that_falls_is_followed() -> None:
    fast, slow, began = bucket(100, 20), bucket(10, 20), 1030.0

    def rule(now: float) -> Ruling:
        return fast(now) if now < began else slow(now)

    served = asked_for(Serving(rule, 0.5), 70)
    later = [at for at in served.taken if at >= began + 10]
    assert len(later) >= 0.85 * 10 * 30
    assert len([at for at in served.refused if at >= began + 10]) <= 0.15 * len(later)


@given(events=st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.one_of(st.none(), st.floats(0, 1e6)))))
def test_no_rate_is_ever_zero_and_no_wait_longer_than_is_allowed(
    events: list[tuple[float, bool, float | None]],
) -> None:
    rate, now = LearnedRate(), 100.0
    for passed, is_throttled, pause in events:
        now = max(now + passed, rate.due(now))
        sent = rate.send(now, 10.0)
        if is_throttled:
            rate.record_throttling(sent, now, pause)
        else:
            rate.record_acceptance()
        assert rate.per_second is None or rate.per_second > 0
        assert rate.due(now) - now <= LONGEST_WAIT + 1e-6


def test_what_servers_say_of_their_limits_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    openai = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "598",
        "x-ratelimit-reset-requests": "1m0.2s",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6ms",
    }
    named = {name.title().replace("Ratelimit", "RateLimit"): value for name, value in openai.items()}
    assert allowance(named) == RateLimitHeaders(RemainingQuota(598, 60.2, 600), RemainingQuota(149984, 0.006, None))
    moment = {"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "1800000012000", "X-RateLimit-Limit": "20"}
    assert allowance(moment) == RateLimitHeaders(RemainingQuota(3, 12.0, 20), None)
    assert allowance({"RateLimit-Remaining": "3", "RateLimit-Reset": "5"}) == RateLimitHeaders(
        RemainingQuota(3, 5, None), None
    )
    for nothing in ({}, {"X-RateLimit-Remaining": "many", "X-RateLimit-Reset": "soon"}, {"X-RateLimit-Reset": "1s"}):
        assert allowance(nothing) is None
    assert retry_after({"Retry-After-Ms": "250", "Retry-After": "1"}) == 0.25


def test_time_is_virtual() -> None:
    before = time.monotonic()
    with virtual_time() as loop:
        assert time.monotonic() == loop.time() == 1000.0
    assert time.monotonic() - before < 5
