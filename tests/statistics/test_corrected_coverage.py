"""Corrected rates on evaluations drawn from a known truth: their intervals hold it, or there is none.

A judge errs otherwise on harmful items than on harmless ones, and the truth is near 0, in the middle or near 1. In
2,000 evaluations an interval of 95 % may miss 6.5 % by chance alone (see test_coverage.py). Where a judge is barely
better than a coin most evaluations give no correction at all: those that give one by luck may miss more often among
themselves, but not among all.
"""

import math
from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeVar

import numpy as np
import pytest

from spavl.statistics import (
    Confusion,
    CorrectedRate,
    Estimate,
    corrected_rate,
    rate_by_cluster,
    rate_with_unknown,
    wilson,
)

LOGS = 2000
Rng = np.random.Generator
Log = TypeVar("Log", bound=Hashable)
Correct = Callable[[Log], CorrectedRate]


class Outcome(NamedTuple):
    """Of all evaluations: how many give a corrected rate, and how many give an interval that misses the truth."""

    shown: float
    missed: float


def outcome(logs: list[Log], correct: Correct[Log], truth: float) -> Outcome:
    """Equal logs are looked at once."""
    made = {log: correct(log).corrected for log in set(logs)}
    found = [made[log] for log in logs]
    missed = [each is not None and not each.low - 1e-9 <= truth <= each.high + 1e-9 for each in found]
    return Outcome(sum(each is not None for each in found) / len(logs), sum(missed) / len(logs))


def check(found: Outcome, logs: int = LOGS) -> None:
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / logs)
    assert found.missed <= most
    if found.shown > 0.5:
        assert found.missed / found.shown <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / logs / found.shown)


# --- the truth is known of the very answers that the rate is about, as --truth has it


class Kind(NamedTuple):
    """How a judge fares on one kind of item."""

    rate: float
    sensitivity: float
    specificity: float


def drawn(rng: Rng, n: int, kind: Kind, logs: int = LOGS) -> list[tuple[int, int, int]]:
    """Of so many evaluations: how many answers are truly positive, and how many of these and of the others are so."""
    true = rng.binomial(n, kind.rate, logs)
    caught, false = rng.binomial(true, kind.sensitivity), rng.binomial(n - true, 1 - kind.specificity)
    return list(zip(true.tolist(), caught.tolist(), false.tolist(), strict=True))


def on_the_same(n: int) -> Correct[tuple[int, int, int]]:
    def correct(log: tuple[int, int, int]) -> CorrectedRate:
        true, caught, false = log
        return corrected_rate(wilson(caught + false, n), Confusion(caught, false, true - caught, n - true - false))

    return correct


HARMFUL, HARMLESS = (0.95, 0.9), (0.6, 0.99)
RATES = (0.0, 0.004, 0.03, 0.5, 0.97, 1.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("errs", [HARMFUL, HARMLESS, (1.0, 1.0), (0.7, 0.7)])
def test_a_rate_corrected_by_its_own_answers_covers(rate: float, errs: tuple[float, float]) -> None:
    logs = drawn(np.random.default_rng(1), 265, Kind(rate, *errs))
    check(outcome(logs, on_the_same(265), rate))


@pytest.mark.parametrize("rate", [0.004, 0.03, 0.3])
def test_errors_pooled_over_kinds_of_items_do_not_cover(rate: float) -> None:
    """What the kinds are kept apart for: a judge that calls harmful items' answers unsafe, and harmless ones' safe."""
    rng, n = np.random.default_rng(2), 265
    harmful, harmless = drawn(rng, n, Kind(rate, 0.95, 0.5)), drawn(rng, n, Kind(0.0, 0.5, 0.99))
    both = [(*one, other) for one, (_, _, other) in zip(harmful, harmless, strict=True)]

    def pooled(log: tuple[int, int, int, int]) -> CorrectedRate:
        true, caught, false, false_of_harmless = log
        wrong = false + false_of_harmless
        return corrected_rate(wilson(caught + false, n), Confusion(caught, wrong, true - caught, 2 * n - true - wrong))

    found = outcome(both, pooled, rate)
    assert found.missed > 0.9 * found.shown > 0.2
    check(outcome(harmful, on_the_same(n), rate))


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_a_correction_covers_though_the_judge_cannot_read_some_of_what_is_unsafe(rate: float) -> None:
    rng, n = np.random.default_rng(3), 200
    logs = []
    for true, caught, false in drawn(rng, n, Kind(rate, 0.9, 0.9), 400):
        unread = int(rng.binomial(caught, min(1.0, 4 / (n * rate))))
        logs.append((true, caught, false, unread))

    def correct(log: tuple[int, int, int, int]) -> CorrectedRate:
        true, caught, false, unread = log
        judged = [1.0] * (caught - unread + false) + [0.0] * (n - caught - false) + [None] * unread
        counts = Confusion(caught - unread, false, true - caught, n - true - false, unread)
        return corrected_rate(rate_with_unknown(judged, range(n)), counts)

    check(outcome(logs, correct, rate), 400)


# --- where several items are about one image, which the judge finds hard or easy as a whole


class Errs(NamedTuple):
    sensitivity: Estimate
    specificity: Estimate


Clustered = tuple[tuple[tuple[bool, bool], ...], ...]


def by_image(rng: Rng, images: int, each: int, kind: Kind, logs: int) -> list[Clustered]:
    """What is true and what is said of every answer. On a third of the images the judge calls 3 in 10 more positive."""
    like = rng.random((logs, images, 1)) < kind.rate
    true = np.where(rng.random((logs, images, each)) < 0.5, like, rng.random((logs, images, each)) < kind.rate)
    leans = np.where(rng.random((logs, images, 1)) < 1 / 3, 0.2, -0.1)
    says = np.where(true, kind.sensitivity, 1 - kind.specificity) + leans
    said = rng.random(true.shape) < says
    paired = np.stack([true, said], axis=-1).tolist()
    return [tuple(tuple((bool(a), bool(b)) for a, b in image) for image in log) for log in paired]


def by_clusters(log: Clustered) -> CorrectedRate:
    answers = [(true, said, image) for image, own in enumerate(log) for true, said in own]

    def rate(among: Callable[[bool], bool], says: bool) -> Estimate:
        own = [(float(said == says), image) for true, said, image in answers if among(true)]
        return rate_by_cluster([value for value, _ in own], [image for _, image in own])

    errs = Errs(rate(lambda true: true, True), rate(lambda true: not true, False))
    return corrected_rate(rate(lambda _: True, True), errs)


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.95])
def test_a_corrected_rate_covers_where_items_share_images(rate: float) -> None:
    """The leaning adds nothing on the whole: a third of the images have 0.2 more, the others 0.1 less."""
    logs = by_image(np.random.default_rng(4), 40, 4, Kind(rate, 0.8, 0.8), 300)
    found = outcome(logs, by_clusters, rate)
    check(found, 300)
    assert found.shown > 0.2


# --- the truth is known of other answers, which are like these


def on_others(n: int, tried: int) -> Correct[tuple[int, int, int]]:
    def correct(log: tuple[int, int, int]) -> CorrectedRate:
        hits, caught, cleared = log
        return corrected_rate(wilson(hits, n), Confusion(caught, tried - cleared, tried - caught, cleared))

    return correct


def drawn_apart(rng: Rng, n: int, tried: int, kind: Kind, logs: int) -> list[tuple[int, int, int]]:
    seen = kind.rate * kind.sensitivity + (1 - kind.rate) * (1 - kind.specificity)
    drawn = (
        rng.binomial(m, p, logs).tolist() for m, p in ((n, seen), (tried, kind.sensitivity), (tried, kind.specificity))
    )
    return list(zip(*drawn, strict=True))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("errs", [HARMFUL, HARMLESS])
def test_a_rate_corrected_by_answers_like_its_own_covers(rate: float, errs: tuple[float, float]) -> None:
    logs = drawn_apart(np.random.default_rng(5), 265, 60, Kind(rate, *errs), LOGS)
    check(outcome(logs, on_others(265, 60), rate))


@pytest.mark.parametrize("errs", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.6)])
def test_a_judge_no_better_than_a_coin_is_hardly_ever_corrected(errs: tuple[float, float]) -> None:
    logs = drawn_apart(np.random.default_rng(6), 265, 30, Kind(0.3, *errs), LOGS)
    assert outcome(logs, on_others(265, 30), 0.3).shown <= 0.04


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 265, 1000])
@pytest.mark.parametrize("tried", [0, 10, 30, 100])
@pytest.mark.parametrize("errs", [(0.9, 0.97), (0.97, 0.9), (0.99, 0.99), (0.7, 0.9), (0.6, 0.6), (0.95, 0.5)])
def test_the_grid(n: int, tried: int, errs: tuple[float, float]) -> None:
    """`tried` 0: of the very answers. A rate of 50 by itself is Wilson's, which may miss by 1 % more."""
    rng = np.random.default_rng(7)
    for rate in (0.0, 0.004, 0.02, 0.1, 0.5, 0.9, 0.98, 1.0):
        kind = Kind(rate, *errs)
        logs = drawn_apart(rng, n, tried, kind, LOGS) if tried else drawn(rng, n, kind)
        found = outcome(logs, on_others(n, tried) if tried else on_the_same(n), rate)
        assert found.missed <= 0.065 + (0.01 if n == 50 else 0), (rate, found)
