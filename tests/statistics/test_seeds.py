"""Intervals over seeds and items: against a mixed simulation, and against what single seeds give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spavl.statistics.laws import joint_t_critical, joint_t_p, t_critical, t_p
from spavl.statistics.rates import rate_by_cluster
from spavl.statistics.seeds import difference_over_seeds, rate_over_seeds

VERDICTS = st.integers(1, 4).flatmap(
    lambda seeds: st.lists(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=seeds, max_size=seeds), min_size=2, max_size=20
    )
)


def draw(rng: np.random.Generator, seeds: int, items: int, rate: float, between: float) -> np.ndarray:
    """Verdicts by seed and item: items differ in how hard they are, and seeds in how much they have learned."""
    hard, learned = rng.normal(0, 1.0, items), rng.normal(0, between, seeds)
    return (rng.logistic(size=(seeds, items)) < rate + hard[None, :] + learned[:, None]).astype(float)


def truth(rate: float, between: float) -> float:
    rng = np.random.default_rng(0)
    logits = rate + rng.normal(0, 1.0, 400_000) + rng.normal(0, between, 400_000)
    return float(np.mean(1 / (1 + np.exp(-logits))))


def covered(seeds: int, items: int, rate: float, between: float, draws: int) -> float:
    rng, value = np.random.default_rng(1), truth(rate, between)
    held = 0
    for _ in range(draws):
        found = rate_over_seeds(draw(rng, seeds, items, rate, between).tolist(), range(items))
        held += found.low <= value <= found.high
    return held / draws


@pytest.mark.parametrize(
    ("seeds", "items", "rate", "between", "least"),
    [
        (3, 60, -0.5, 0.5, 0.93),
        pytest.param(3, 200, -2.0, 0.8, 0.9, marks=pytest.mark.slow),
        pytest.param(5, 40, 0.0, 0.0, 0.93, marks=pytest.mark.slow),
        pytest.param(8, 100, 1.0, 0.3, 0.93, marks=pytest.mark.slow),
    ],
)
def test_the_interval_covers_the_rate_of_other_seeds_and_items(
    seeds: int, items: int, rate: float, between: float, least: float
) -> None:
    assert covered(seeds, items, rate, between, 500) >= least


@pytest.mark.parametrize("paired", [True, False])
def test_no_difference_is_found_at_most_as_often_as_the_level_says(paired: bool) -> None:
    rng, found = np.random.default_rng(2), 0
    for _ in range(400):
        both = draw(rng, 6, 80, -0.5, 0.4)
        ones, others = both[:3], both[3:] if paired else both[3:5]
        found += difference_over_seeds(ones.tolist(), others.tolist(), range(80)).p < 0.05
    assert found / 400 <= 0.07


def test_a_difference_is_found_where_there_is_one() -> None:
    rng = np.random.default_rng(3)
    ones, others = draw(rng, 3, 200, -2.0, 0.2), draw(rng, 3, 200, 1.0, 0.2)
    found = difference_over_seeds(ones.tolist(), others.tolist(), range(200))
    assert found.p < 0.01
    assert found.difference.high < 0


@given(VERDICTS)
def test_interval_and_p_agree_and_swapping_turns_the_sign(rows: list[list[float]]) -> None:
    values = [list(seed) for seed in zip(*rows, strict=True)]
    items = range(len(rows))
    rate = rate_over_seeds(values, items)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    flat = [[0.5] * len(rows)] * len(values)
    one, other = difference_over_seeds(values, flat, items), difference_over_seeds(flat, values, items)
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert one.p == pytest.approx(other.p)
    if one.p < 0.049:
        assert not one.difference.low <= 0 <= one.difference.high
    if one.p > 0.051:
        assert one.difference.low <= 0 <= one.difference.high


def test_seeds_that_do_not_differ_leave_the_interval_of_the_items() -> None:
    row = [1.0] * 12 + [0.0] * 48
    many, single = rate_over_seeds([row] * 5, range(60)), rate_by_cluster(row, range(60))
    assert many.value == single.value
    assert many.low == pytest.approx(single.low, abs=0.01)
    assert many.high == pytest.approx(single.high, abs=0.01)


def test_many_items_that_all_agree_leave_the_t_test_of_the_seeds() -> None:
    """With the same value for all items of a seed, only the seeds vary: SciPy's one-sample t test."""
    seeds = [0.20, 0.35, 0.25, 0.40]
    values = [[seed] * 50 for seed in seeds]
    found = difference_over_seeds(values, [[0.1] * 50] * 4, range(50))
    peer = stats.ttest_1samp(np.array(seeds) - 0.1, 0.0)
    low, high = peer.confidence_interval(0.95)
    assert found.p == pytest.approx(peer.pvalue, rel=1e-6)
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high), rel=1e-6)


@pytest.mark.parametrize(
    ("seeds", "between", "draws"),
    [
        (3, 0.3, 600),
        pytest.param(3, 1.0, 4000, marks=pytest.mark.slow),
        pytest.param(5, 0.3, 4000, marks=pytest.mark.slow),
        pytest.param(5, 1.0, 4000, marks=pytest.mark.slow),
    ],
)
def test_the_level_holds_far_in_the_tail_where_holm_needs_it(seeds: int, between: float, draws: int) -> None:
    """With Satterthwaite's degrees of freedom, 1 to 2 % were found at a level of 0.2 % with three seeds."""
    rng, found = np.random.default_rng(5), []
    for _ in range(draws):
        both = draw(rng, 2 * seeds, 120, -1.5, between)
        found.append(difference_over_seeds(both[:seeds].tolist(), both[seeds:].tolist(), range(120)).p)
    for level in (0.05, 0.01, 0.002):
        assert np.mean(np.array(found) <= level) <= level + 2.6 * (level / draws) ** 0.5


@given(st.floats(1e-12, 1.0), st.floats(1, 300), st.floats(1, 300), st.floats(0, 1))
def test_a_joint_p_lies_between_those_of_its_parts_and_is_the_level_of_its_critical_value(
    p: float, one: float, other: float, share: float
) -> None:
    parts = [(share, one), (1 - share, other)]
    x = joint_t_critical(p, parts)
    assert joint_t_p(x, parts) == pytest.approx(p, rel=1e-5)
    low, high = sorted((t_p(x, one), t_p(x, other)))
    assert low * (1 - 1e-6) <= p <= high * (1 + 1e-6)


@pytest.mark.parametrize("freedom", [1, 2, 5, 300])
@pytest.mark.parametrize("p", [0.5, 0.05, 1e-4, 1e-12, 1e-40])
def test_critical_values_are_those_of_scipy(p: float, freedom: float) -> None:
    assert t_critical(p, freedom) == pytest.approx(stats.t.isf(p / 2, freedom), rel=1e-8)
