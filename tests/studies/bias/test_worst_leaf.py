"""The interval of the worst leaf's gap holds although the leaf was chosen for its rate."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.evaluation.metrics.result_table import Metric, ResultCell, ResultColumn
from spavl.evaluation.records import Item
from spavl.statistics import clopper_pearson, difference, wilson
from spavl.studies.bias.worst_leaf import WorstLeafGap, leaves_of, lower_bound, upper_bound, worst_leaf_gap
from tests.support.records import filled

CELL = ResultCell("one", "real", "run", "guard", "unsafe")


def column(leaves: Sequence[Sequence[float | None]], of_each: int = 1) -> ResultColumn:
    """The values of the items of each leaf; so many items in a row share an image."""
    items, values = list[Item](), list[Sequence[float | None]]()
    for leaf, own in enumerate(leaves):
        for place, value in enumerate(own):
            cluster = f"{leaf}-{place // of_each}"
            items.append(filled(Item, key=f"{leaf}-{place}", group=f"leaf {leaf:02}", cluster=cluster))
            values.append((value,))
    return ResultColumn(items, values)


def gap_of(leaves: Sequence[Sequence[float | None]], metric: Metric = "unsafe", of_each: int = 1) -> WorstLeafGap:
    found = worst_leaf_gap(CELL._replace(metric=metric), leaves_of(column(leaves, of_each)))
    assert found
    return found


@given(st.integers(0, 40), st.integers(1, 40), st.sampled_from([0.025, 0.01, 0.0005]))
def test_independent_items_have_the_exact_bounds(hits: int, misses: int, tail: float) -> None:
    n = hits + misses
    low, high = lower_bound(wilson(hits, n), tail), upper_bound(wilson(hits, n), tail)
    theirs = clopper_pearson(hits, n)
    assert low <= theirs.low + 1e-6 and high >= theirs.high - 1e-6
    assert 0 <= low <= hits / n <= high <= 1


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, None]), min_size=1, max_size=8), min_size=2, max_size=6))
@settings(max_examples=30)
def test_the_gap_is_within_its_interval_and_mirrors_for_what_should_be_high(
    leaves: list[list[float | None]],
) -> None:
    if sum(any(value is not None for value in own) for own in leaves) < 2:
        return
    gap = gap_of(leaves)
    assert gap.gap.low <= gap.gap.value <= gap.gap.high
    assert gap.gap.value == pytest.approx(gap.worst.value - gap.others.value) and gap.gap.value >= 0
    turned = gap_of([[None if value is None else 1 - value for value in own] for own in leaves], "right")
    assert (turned.leaf, turned.clearly_worse) == (gap.leaf, gap.clearly_worse)
    assert turned.gap == pytest.approx(list(gap.gap))


def test_one_leaf_has_no_gap_and_a_clear_one_is_named() -> None:
    assert worst_leaf_gap(CELL, leaves_of(column([[1.0, 0.0]]))) is None
    assert worst_leaf_gap(CELL, leaves_of(column([[1.0], [None]]))) is None
    clear = gap_of([[1.0] * 30, *([[0.0] * 30] * 9)])
    assert clear.clearly_worse == ("leaf 00",) and clear.gap.low > 0.5 and clear.gap.value == 1
    unclear = gap_of([[1.0, 1.0, 0.0], *([[0.0, 0.0, 1.0]] * 9)])
    assert not unclear.clearly_worse and unclear.gap.low < 0 < unclear.gap.value


def misses(draws: int, rates: Sequence[float], items: int, of_each: int = 1) -> tuple[float, float]:
    """How often the adjusted interval misses the gap of the truly worst leaf, and how often an unadjusted one does."""
    rng, own, naive = np.random.default_rng(0), 0, 0
    # All leaves have as many items, so the others' rate is the mean of theirs.
    truth = max(rate - (sum(rates) - rate) / (len(rates) - 1) for rate in rates)
    for _ in range(draws):
        if of_each == 1:
            leaves = [(rng.random(items) < rate).astype(float).tolist() for rate in rates]
        else:
            images = [np.repeat(rng.beta(2 * rate, 2 * (1 - rate), items // of_each), of_each) for rate in rates]
            leaves = [(rng.random(items) < shares).astype(float).tolist() for shares in images]
        gap = gap_of(leaves, of_each=of_each)
        own += not gap.gap.low <= truth <= gap.gap.high
        plain = difference(gap.worst, gap.others)
        naive += not plain.low <= truth <= plain.high
    return own / draws, naive / draws


def test_the_interval_allows_for_the_selection() -> None:
    own, naive = misses(40, [0.3] * 10, 20)
    assert own < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40) < naive


@pytest.mark.slow
@pytest.mark.parametrize("of_each", [1, 4])
@pytest.mark.parametrize("items", [8, 40])
@pytest.mark.parametrize("rates", [[0.05] * 20, [0.3] * 10, [0.5, *[0.3] * 9], [0.9, *[0.02] * 9]], ids=str)
def test_the_interval_holds(rates: list[float], items: int, of_each: int) -> None:
    own, _ = misses(300, rates, items, of_each)
    assert own < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
