"""Rates of a training that was repeated with several seeds, all evaluated on the same items.

Two things vary: which items were asked, and which seed was trained with. The variance of a mean over both is the
cluster-robust variance of the items' means over the seeds, plus the variance of the seeds' means. Chance within an item
is counted in both. The few degrees of freedom of the seeds count by the share of their variance (`joint_t_critical`).
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import joint_t_critical, joint_t_p
from spavl.statistics.paired import paired_difference, paired_p
from spavl.statistics.rates import rate_by_cluster, wilson_bounds

# By seed, then by item. Every seed has a value for every item.
SeedValues = Sequence[Sequence[float]]


class SeedDifference(NamedTuple):
    """One training minus another, over the same items, and the p value of no difference."""

    difference: Estimate
    p: float


class _Spread(NamedTuple):
    """A mean over seeds and items, and the parts of its variance, each with its degrees of freedom."""

    mean: float
    parts: Sequence[tuple[float, float]]

    @property
    def variance(self) -> float:
        return math.fsum(variance for variance, _ in self.parts)


def rate_over_seeds(values: SeedValues, clusters: Sequence[Hashable]) -> Estimate:
    """The mean rate in the population of seeds and of clusters of items; n is the number of items.

    A single seed says nothing about other seeds: its interval is that of its items alone.
    """
    if len(values) < 2 or not clusters:
        return rate_by_cluster(values[0] if values else (), clusters)
    spread, groups = _spread(np.asarray(values, float), clusters), len(set(clusters))
    if spread.mean in (0, 1) or not spread.variance:
        return Estimate(spread.mean, len(clusters), *wilson_bounds(spread.mean, groups))
    alone = spread.mean * (1 - spread.mean) / spread.variance
    low, high = wilson_bounds(spread.mean, alone, joint_t_critical(0.05, spread.parts))
    return Estimate(spread.mean, len(clusters), low, high)


def difference_over_seeds(ones: SeedValues, others: SeedValues, clusters: Sequence[Hashable]) -> SeedDifference:
    """The mean of the first minus the second, by Student's t over seeds and clusters.

    If both have as many seeds, they are paired in their order, since one seed draws the same data for both. If one of
    them has a single run, such as the model before training, each seed of the other is compared with that run.
    """
    if not clusters:
        return SeedDifference(Estimate(math.nan, 0, -1.0, 1.0), 1.0)
    one, other = np.asarray(ones, float), np.asarray(others, float)
    if len(one) == len(other) == 1:
        return SeedDifference(paired_difference(one[0], other[0], clusters), paired_p(one[0], other[0], clusters))
    if len(one) == len(other) or 1 in (len(one), len(other)):
        spread = _spread(one - other, clusters)
    else:
        spread = _difference_of_other_seeds(one, other, clusters)
    n = len(clusters)
    if not spread.variance:
        alone = paired_difference(one.mean(0).tolist(), other.mean(0).tolist(), clusters)
        return SeedDifference(alone, paired_p(one.mean(0).tolist(), other.mean(0).tolist(), clusters))
    error = math.sqrt(spread.variance)
    reach = joint_t_critical(0.05, spread.parts) * error
    low, high = max(-1.0, spread.mean - reach), min(1.0, spread.mean + reach)
    return SeedDifference(Estimate(spread.mean, n, low, high), joint_t_p(spread.mean / error, spread.parts))


def _spread(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", clusters: Sequence[Hashable]) -> _Spread:
    mean, seeds = float(values.mean()), len(values)
    of_items, groups = _variance_of_items(values.mean(0) - mean, clusters)
    of_seeds = float(values.mean(1).var(ddof=1)) / seeds if seeds > 1 else 0.0
    return _spread_of(mean, [(of_items, groups - 1), (of_seeds, seeds - 1)])


def _difference_of_other_seeds(
    one: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
    other: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
    clusters: Sequence[Hashable],
) -> _Spread:
    gaps = one.mean(0) - other.mean(0)
    mean = float(gaps.mean())
    of_items, groups = _variance_of_items(gaps - mean, clusters)
    seeds = [(float(each.mean(1).var(ddof=1)) / len(each), len(each) - 1) for each in (one, other)]
    return _spread_of(mean, [(of_items, groups - 1), *seeds])


def _variance_of_items(
    residuals: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", clusters: Sequence[Hashable]
) -> tuple[float, int]:
    """The cluster-robust variance of the mean, and the number of clusters."""
    number: dict[Hashable, int] = {}
    places = [number.setdefault(cluster, len(number)) for cluster in clusters]
    sums = np.bincount(places, weights=residuals)
    count = len(number)
    return float((sums**2).sum()) / len(clusters) ** 2 * (count / (count - 1) if count > 1 else 1.0), count


def _spread_of(mean: float, parts: Sequence[tuple[float, int]]) -> _Spread:
    """With the parts that are more than rounding."""
    return _Spread(mean, [(variance, max(freedom, 1)) for variance, freedom in parts if variance > 1e-18])
