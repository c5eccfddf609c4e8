"""The AUC is scipy's U statistic, and its interval holds where items share clusters."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spavl.statistics.auc import auc_by_cluster

rows = st.lists(st.tuples(st.integers(-5, 5), st.booleans(), st.integers(0, 6)), min_size=1, max_size=60)


@given(rows)
def test_it_is_the_u_statistic_and_ties_count_half(rows: list[tuple[int, bool, int]]) -> None:
    scores, labels, clusters = (list(column) for column in zip(*rows, strict=True))
    ones = [score for score, label in zip(scores, labels, strict=True) if label]
    others = [score for score, label in zip(scores, labels, strict=True) if not label]
    found = auc_by_cluster(scores, labels, clusters)
    if not ones or not others:
        assert math.isnan(found.value) and (found.low, found.high) == (0, 1)
        return
    theirs = stats.mannwhitneyu(ones, others).statistic / len(ones) / len(others)
    assert found.value == pytest.approx(theirs)
    assert 0 <= found.low <= found.value <= found.high <= 1
    mirrored = auc_by_cluster(scores, [not label for label in labels], clusters)
    assert mirrored.value == pytest.approx(1 - found.value)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))


@given(rows, st.integers(-100, 100))
def test_strata_are_not_compared_with_each_other(rows: list[tuple[int, bool, int]], shift: int) -> None:
    scores, labels, clusters = (list(column) for column in zip(*rows, strict=True))
    strata = [cluster % 2 for cluster in clusters]
    shifted = [score + shift * stratum for score, stratum in zip(scores, strata, strict=True)]
    one, other = (auc_by_cluster(own, labels, clusters, strata) for own in (scores, shifted))
    assert one == other or (math.isnan(one.value) and math.isnan(other.value))


def test_without_clusters_the_variance_is_delongs() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.4
    scores = rng.normal(labels * 0.8, 1)
    found = auc_by_cluster(scores.tolist(), labels.tolist(), range(400))
    ones, others = scores[labels], scores[~labels]
    wins = (ones[:, None] > others[None, :]).astype(float)
    delong = wins.mean(axis=1).var(ddof=1) / len(ones) + wins.mean(axis=0).var(ddof=1) / len(others)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * math.sqrt(delong), rel=0.03)


def misses(draws: int, effect: float, shared: float, images: int = 40) -> float:
    """How often the interval misses the true AUC; the items of an image share a part of their scores and labels."""
    rng, missed = np.random.default_rng(1), 0
    truth = stats.norm.cdf(effect / math.sqrt(2 * (1 + shared**2)))
    for _ in range(draws):
        clusters = np.repeat(np.arange(images), 4)
        kinds = np.repeat(rng.random(images) < 0.5, 4) if shared else rng.random(4 * images) < 0.5
        scores = rng.normal(kinds * effect, 1) + shared * np.repeat(rng.normal(size=images), 4)
        found = auc_by_cluster(scores.tolist(), kinds.tolist(), clusters.tolist())
        missed += not found.low <= truth <= found.high
    return missed / draws


def test_the_interval_holds_on_items_that_share_images() -> None:
    assert misses(150, 0.8, 1.0) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, 0.8, 2.0])
@pytest.mark.parametrize("shared", [0.0, 1.0])
@pytest.mark.parametrize("images", [30, 100])
def test_the_interval_holds_at_its_nominal_rate(effect: float, shared: float, images: int) -> None:
    assert misses(1500, effect, shared, images) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)
