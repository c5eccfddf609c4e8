"""Rates of items in clusters, wins, samples and paired differences: each tail is missed no more often than it may be.

Truths come from `tests.support.clustered_verdicts`; the reference for the posterior is scipy's
beta-binomial on a grid of its own.
"""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from spavl.evaluation.metrics.power import PowerItem, what_can_be_found
from spavl.statistics import (
    Estimate,
    averages,
    detectable_difference,
    independent_items,
    macro_of_samples,
    mcnemar,
    paired_difference,
    paired_p,
    paired_test,
    rate_by_cluster,
    rate_of_samples,
    sign_test,
    wilson,
    win_p,
    win_rate,
)
from spavl.statistics.beta_binomial import rate_bounds
from tests.support.clustered_verdicts import MIXED, Missed, Setting, allowed, grid, misses, verdicts

DRAWS = 400
Rng = np.random.Generator


# --- rates


@pytest.mark.parametrize(
    "setting",
    [
        # The truth lay above the upper end in 9.1 % and in 20.4 % of draws.
        Setting("beta", 0.05, 20, 20, 0.3),
        Setting("3 % hot", 0.03, 40, 10, math.nan),
        # And here in 17, 13, 11 and 11 %.
        Setting("logit-normal", 0.01, 40, 20, 0.3),
        Setting("logit-normal", 0.05, 20, 20, 0.3),
        Setting("beta", 0.01, 200, MIXED, 0.3),
        Setting("hot", 0.05, 40, 10, 0.3),
        # The posterior alone lies too high here in 48 %: its law is not theirs.
        Setting("3 % hot", 0.05, 200, 20, math.nan),
        Setting("beta", 0.5, 10, 3, 0.6),
        Setting("beta", 0.2, 40, 20, 0.0),
    ],
    ids=str,
)
def test_the_truth_is_above_the_upper_end_no_more_often_than_it_may_be(setting: Setting) -> None:
    above, below, _ = misses(setting, DRAWS)
    assert above <= allowed(DRAWS)
    assert below <= allowed(DRAWS)


@pytest.mark.slow
def test_both_tails_hold_over_the_whole_grid() -> None:
    """Where fewer than four hot clusters are to be expected no interval knows of those that were not drawn.

    Of hundreds of settings some lie three standard errors off by chance: four are allowed, and the means are held.
    """
    draws, found = 200, dict[str, list[Missed]]()
    limit = 0.025 + 4 * math.sqrt(0.025 * 0.975 / draws)
    for setting in grid():
        if "hot" in setting.law and setting.clusters * setting.hot()[0] < 4:
            continue
        told = misses(setting, draws)
        found.setdefault(setting.law, []).append(told)
        assert told.above <= limit and told.below <= limit, setting
    for law, own in found.items():
        assert sum(each.above for each in own) / len(own) <= 0.025, law
        assert sum(each.below for each in own) / len(own) <= 0.025, law


def test_an_interval_of_many_clusters_is_hardly_wider_than_it_must_be() -> None:
    for icc in (0.0, 0.3):
        setting = Setting("beta", 0.2, 200, 20, icc)
        true = 3.92 * math.sqrt(0.2 * 0.8 * (1 + 19 * icc) / 4000)
        assert misses(setting, 60).width == pytest.approx(true, rel=0.08)


@pytest.mark.parametrize(
    ("clusters", "size", "rate", "icc"), [(20, 20, 0.05, 0.3), (40, 10, 0.03, 0.7), (8, 3, 0.5, 0.2)]
)
def test_the_posterior_is_that_of_scipys_beta_binomial(clusters: int, size: int, rate: float, icc: float) -> None:
    hits = Setting("beta", rate, clusters, size, icc).draw(np.random.default_rng(2))[0].tolist()
    angles, roots = (np.arange(1500) + 0.5) / 1500 * np.pi / 2, (np.arange(200) + 0.5) / 200
    mean, total = np.sin(angles)[:, None] ** 2, (1 - roots**2) / roots**2
    law = stats.betabinom(size, mean * total, (1 - mean) * total)
    log = np.log(roots) + sum(hits.count(own) * law.logpmf(own) for own in set(hits))
    below = np.cumsum(np.exp(log - log.max()).sum(1))
    ends = np.sin(np.interp((0.025, 0.975), below / below[-1], angles)) ** 2
    assert rate_bounds([(own, size) for own in hits]) == pytest.approx(ends, abs=1e-3)


sizes_and_hits = st.lists(
    st.integers(1, 12).flatmap(lambda size: st.tuples(st.integers(0, size), st.just(size))), min_size=2, max_size=15
)


@given(sizes_and_hits, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_hits_and_misses_are_treated_alike_in_any_order(rows: list[tuple[int, int]], rng: random.Random) -> None:
    found = rate_by_cluster(*verdicts(*zip(*rows, strict=True)))
    assert 0 <= found.low <= found.value <= found.high <= 1 and found.low < found.high
    values, clusters = verdicts(*zip(*rows, strict=True))
    mirrored = rate_by_cluster([1 - value for value in values], clusters)
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)
    pairs = list(zip(values, clusters, strict=True))
    rng.shuffle(pairs)
    assert rate_by_cluster([one for one, _ in pairs], [c for _, c in pairs]) == pytest.approx(found, abs=1e-9)


def test_clusters_of_thousands_of_items_are_told_as_those_of_few_are() -> None:
    """Of 30 clusters with a rate of their own each, many items say no more than enough of them."""
    rates = np.random.default_rng(4).beta(2, 8, 30)
    ends = [rate_bounds([(round(rate * size), size) for rate in rates]) for size in (1_000, 100_000)]
    assert ends[0] == pytest.approx(ends[1], abs=2e-3)


def test_items_that_stand_alone_keep_wilsons_interval() -> None:
    assert rate_by_cluster([1.0] * 7 + [0.0] * 33, range(40)) == wilson(7, 40)


def test_the_mean_over_groups_misses_no_more_often_than_it_may() -> None:
    """Four groups of five images with 20 questions each, ICC .3: the truth lay above the upper end in 11 %."""
    setting = Setting("beta", 0.05, 20, 20, 0.3)

    def macro(values: list[float], clusters: list[int]) -> Estimate:
        return averages(values, [cluster % 4 for cluster in clusters], clusters).macro

    above, below, _ = misses(setting, DRAWS, macro)
    assert above <= allowed(DRAWS) and below <= allowed(DRAWS)


def test_a_macro_average_reaches_over_what_was_not_read() -> None:
    """One group of three was never read, and none of the others is positive: it said 0 [0, 1.9] of 200 answers."""
    samples = [[None if item % 3 == 2 else 0.0] for item in range(300)]
    found = macro_of_samples(samples, [item % 3 for item in range(300)], range(300))
    assert (found.value, found.n, found.low) == (0, 200, 0)
    if_all = macro_of_samples([[float(item % 3 == 2)] for item in range(300)], [i % 3 for i in range(300)], range(300))
    assert if_all.value == pytest.approx(1 / 3) and found.high == if_all.high


def test_a_macro_average_of_samples_is_no_surer_than_the_rate() -> None:
    """1 of 400 samples is positive, of 40 items in two groups."""
    samples = [[1.0] + [0.0] * 9] + [[0.0] * 10] * 39
    found = macro_of_samples(samples, [item % 2 for item in range(40)], range(40))
    assert found.value == pytest.approx(0.0025) and found.n == 40
    assert found.high > 0.9 * rate_of_samples(samples, range(40)).high


# --- several samples of an item


def sampled(rng: Rng, items: int, samples: int, spread: float) -> list[list[float]]:
    rates = 1 / (1 + np.exp(-rng.normal(-1, spread, items)))
    return (rng.random((items, samples)) < rates[:, None]).astype(float).tolist()


def test_ten_samples_an_item_narrow_the_interval_as_far_as_items_are_alike() -> None:
    """It was 0.98 and 1.00 times as wide as that of one sample, whatever the samples said."""
    rng = np.random.default_rng(5)
    for spread, least, most in ((0.3, 0.3, 0.5), (6.0, 0.8, 1.1)):
        once, often = (
            np.mean([_width(rate_of_samples(sampled(rng, 100, samples, spread), range(100))) for _ in range(30)])
            for samples in (1, 10)
        )
        assert least < often / once < most


def test_the_interval_of_ten_samples_covers() -> None:
    rng, truth = (
        np.random.default_rng(6),
        float(np.mean(1 / (1 + np.exp(-np.random.default_rng(0).normal(-1, 1, 10**6))))),
    )
    found = [rate_of_samples(sampled(rng, 60, 10, 1.0), range(60)) for _ in range(DRAWS)]
    assert sum(each.high < truth for each in found) / DRAWS <= allowed(DRAWS)
    assert sum(each.low > truth for each in found) / DRAWS <= allowed(DRAWS)


def _width(found: Estimate) -> float:
    return found.high - found.low


# --- interval and test


def _excludes(found: Estimate, even: float) -> bool:
    return not found.low <= even <= found.high


comparisons = st.tuples(st.integers(0, 40), st.integers(0, 60), st.integers(0, 40)).filter(any)


@given(comparisons)
def test_a_win_rates_interval_leaves_out_a_half_just_where_the_sign_test_finds_a_winner(
    counts: tuple[int, ...],
) -> None:
    """With three ties of four it held a half though the test said p <= .05 in 66 % of draws."""
    wins, ties, losses = counts
    shares = [1.0] * wins + [0.5] * ties + [0.0] * losses
    found = win_rate(shares, range(len(shares)))
    assert win_p(shares, range(len(shares))) == sign_test(wins, losses)
    assert _excludes(found, 0.5) == (sign_test(wins, losses) <= 0.05)
    assert 0 <= found.low <= found.value <= found.high <= 1


gap_rows = st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.2, 0.5, 1.0]), st.integers(0, 11)), min_size=1, max_size=40)


@given(gap_rows, st.booleans(), st.booleans())
@settings(max_examples=60)
def test_a_paired_interval_leaves_out_zero_just_where_its_test_finds_a_difference(
    rows: list[tuple[float, int]], verdicts_only: bool, alone: bool
) -> None:
    ones = [float(value > 0) if verdicts_only else value for value, _ in rows]
    others = [float(number % 5 == 0) for number in range(len(rows))]
    clusters = list(range(len(rows))) if alone else [cluster for _, cluster in rows]
    found, p = paired_difference(ones, others, clusters), paired_p(ones, others, clusters)
    assert _excludes(found, 0.0) == (p <= 0.05)
    assert found.low <= found.value <= found.high
    back = paired_difference(others, ones, clusters)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), abs=1e-9)


def test_items_that_stand_alone_have_mcnemars_p() -> None:
    ones, others = [1.0] * 9 + [0.0] * 11, [0.0] * 8 + [1.0] * 3 + [0.0] * 9
    assert paired_p(ones, others, range(20)) == mcnemar(2, 8)


@pytest.mark.parametrize(
    ("n", "wins", "losses"), [(20, 0.2, 0.1), (60, 0.1, 0.1), (265, 0.12, 0.08), (265, 0.5, 0.2), (265, 0.05, 0.0)]
)
def test_a_win_rates_interval_covers_and_is_no_wider_than_it_must_be(n: int, wins: float, losses: float) -> None:
    """With 80 % ties it was 2.2 times as wide."""
    rng, truth = np.random.default_rng(7), (1 + wins - losses) / 2
    seen: dict[tuple[int, ...], Estimate] = {}
    found = []
    for _ in range(DRAWS):
        log = tuple(rng.multinomial(n, [wins, losses, 1 - wins - losses]).tolist())
        if log not in seen:
            seen[log] = win_rate([1.0] * log[0] + [0.0] * log[1] + [0.5] * log[2], range(n))
        found.append(seen[log])
    assert sum(each.high < truth for each in found) / DRAWS <= allowed(DRAWS)
    assert sum(each.low > truth for each in found) / DRAWS <= allowed(DRAWS)
    spread = math.sqrt((wins + losses - (wins - losses) ** 2) / n) / 2
    assert sum(map(_width, found)) / DRAWS < (1.2 if n == 265 else 1.5) * 3.92 * spread


def _differing(rng: Rng, clusters: int, size: int, sides: Sequence[float], icc: float) -> tuple[list[float], ...]:
    """Two models' verdicts: the shares won by the first alone and by the second alone differ between clusters."""
    whole = 1 / icc - 1 if icc else 1e6
    shares = rng.dirichlet(np.array([*sides, 1 - sum(sides)]) * whole, clusters)
    counts = [rng.multinomial(size, own) for own in shares]
    ones = [value for up, _, alike in counts for value in (*[1.0] * up, *[0.0] * (size - up))]
    others = [value for up, down, alike in counts for value in (*[0.0] * up, *[1.0] * down, *[0.0] * alike)]
    return ones, others


@pytest.mark.parametrize(
    ("clusters", "size", "sides", "icc", "widest"),
    [(20, 6, (0.1, 0.1), 0.0, 1.5), (20, 6, (0.3, 0.1), 0.3, 1.2), (40, 10, (0.1, 0.1), 0.3, 1.25)],
)
def test_a_clustered_difference_covers_and_is_no_wider_than_it_must_be(
    clusters: int, size: int, sides: tuple[float, float], icc: float, widest: float
) -> None:
    """It was 2.1, 1.3 and 1.3 times as wide as 3.92 standard errors."""
    rng, named, draws = np.random.default_rng(8), [c for c in range(clusters) for _ in range(size)], 200
    found = [paired_difference(*_differing(rng, clusters, size, sides, icc), named) for _ in range(draws)]
    truth = sides[0] - sides[1]
    assert sum(each.high < truth for each in found) / draws <= allowed(draws)
    assert sum(each.low > truth for each in found) / draws <= allowed(draws)
    effect = (1 + (size - 1) * icc) / (clusters * size)
    assert sum(map(_width, found)) / draws < widest * 3.92 * math.sqrt((sum(sides) - truth**2) * effect)


def test_a_difference_of_samples_is_no_surer_than_the_rate_it_is_made_of() -> None:
    """40 items of 10 samples against none unsafe. For 0, 1 and 2 of 400 the upper ends were 8.8, 1.5 and 1.9 %."""
    for hits in range(4):
        own = [[1.0] + [0.0] * 9] * hits + [[0.0] * 10] * (40 - hits)
        found = paired_test(own, [[0.0] * 10] * 40, range(40)).difference
        assert found.high == pytest.approx(rate_of_samples(own, range(40)).high, abs=1e-6)


@pytest.mark.parametrize(("items", "hot", "high", "low"), [(20, 0.05, 0.9, 0.01), (40, 0.3, 0.6, 0.2)])
def test_a_difference_of_ten_samples_an_item_covers(items: int, hot: float, high: float, low: float) -> None:
    """Of 20 items of which one in twenty is nearly always answered unsafely by the first model alone, the truth lay
    above the upper end in 24 %."""
    rng, draws, truth = np.random.default_rng(10), 200, hot * (high - low)
    above = below = 0
    for _ in range(draws):
        rates = np.where(rng.random(items) < hot, high, low)
        ones = (rng.random((items, 10)) < rates[:, None]).astype(float).tolist()
        others = (rng.random((items, 10)) < low).astype(float).tolist()
        found = paired_test(ones, others, range(items))
        above, below = above + (found.difference.high < truth), below + (found.difference.low > truth)
        assert _excludes(found.difference, 0.0) == (found.p <= 0.05)
    assert above / draws <= allowed(draws) and below / draws <= allowed(draws)


# --- what can be found


def test_a_difference_said_to_be_detectable_at_popes_shape_is_found_and_lies_near_the_intervals() -> None:
    """9,000 questions, 18 about each of 500 images: it said 5.7 points where the intervals were 1.4."""
    (_, line) = what_can_be_found([PowerItem("pope", "answer", str(number % 500)) for number in range(9000)])
    gap = detectable_difference(0.2, independent_items([18] * 500, 0.1), alpha=0.05 / 2)
    assert gap is not None and line == f"  pope: {100 * gap:.1f} points on 9,000 questions of 500 clusters"
    rng, named = np.random.default_rng(9), [image for image in range(500) for _ in range(18)]
    logs = [_differing(rng, 500, 18, ((0.2 + gap) / 2, (0.2 - gap) / 2), 0.1) for _ in range(100)]
    power = sum(paired_p(*log, named) <= 0.05 / 2 for log in logs) / 100
    assert power == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 100))
    half = np.mean([_width(paired_difference(*log, named)) / 2 for log in logs[:5]])
    assert 1.4 < gap / half < 1.75, "3.08 standard errors at half of 5 % beside 1.96"


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_items_tell_as_much_as_they_are_if_they_do_not_correlate_and_as_clusters_if_they_do(sizes: list[int]) -> None:
    assert independent_items(sizes, 0.0) == sum(sizes)
    assert independent_items([sizes[0]] * 7, 1.0) == 7
    assert independent_items([1] * len(sizes), 1.0) == len(sizes)
