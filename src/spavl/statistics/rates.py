"""Rates and means, each with its interval."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from spavl.statistics.bootstrap import DRAWS, Part, ratio, ratio_interval
from spavl.statistics.estimates import Z95, Estimate
from spavl.statistics.laws import beta_quantile, reach95


def wilson(hits: float, n: int) -> Estimate:
    """A rate with Wilson's interval, which holds at 0 and at 1 where the usual one does not."""
    _check(hits, n)
    if n == 0:
        return Estimate(math.nan, 0, 0.0, 1.0)
    return Estimate(hits / n, n, *wilson_bounds(hits / n, n))


def wilson_bounds(rate: float, n: float, z: float = Z95) -> tuple[float, float]:
    z2 = z**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    reach = z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(0.0, middle - reach) if rate else 0.0, min(1.0, middle + reach) if rate < 1 else 1.0


def clopper_pearson(hits: int, n: int) -> Estimate:
    """A rate with the exact interval, which holds the truth in 95 % of cases or more whatever it is.

    It is wider than Wilson's, whose 95 % are an average over truths: for a promise, not for a comparison.
    """
    _check(hits, n)
    if n == 0:
        return Estimate(math.nan, 0, 0.0, 1.0)
    low = beta_quantile(0.025, hits, n - hits + 1) if hits else 0.0
    high = beta_quantile(0.975, hits + 1, n - hits) if hits < n else 1.0
    return Estimate(hits / n, n, low, high)


def _check(hits: float, n: int) -> None:
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}")


def wilson_with_unknown(hits: int, misses: int, unknown: int) -> Estimate:
    """A rate over the items that could be judged, whose interval reaches over the others whatever they were."""
    everything = hits + misses + unknown
    low, high = wilson(hits, everything).low, wilson(hits + unknown, everything).high
    return wilson(hits, hits + misses)._replace(low=low, high=high)


def rate_by_cluster(hits: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """A rate with Wilson's interval, widened as far as the items of one cluster hang together.

    Where that is seen from the clusters themselves, it reaches as far as Student's t of their number.
    For millions of items this is instant where a bootstrap takes minutes; where only a handful of
    clusters holds any hit, `mean_by_cluster` is surer.
    """
    if not hits:
        return wilson(0, 0)
    rate, n, k = sum(hits) / len(hits), len(hits), len(set(clusters))
    if k == 1 < n:
        return Estimate(rate, n, 0.0, 1.0)
    reach = Z95 if k == n or rate in (0, 1) else reach95(k)
    return Estimate(rate, n, *wilson_bounds(rate, items_alone(hits, clusters), reach))


def rate_with_unknown(values: Sequence[float | None], clusters: Sequence[Hashable]) -> Estimate:
    """A rate over what could be judged, by cluster; its interval reaches over the rest, whatever it was."""
    return rate_of_samples([(value,) for value in values], clusters)


def rate_of_samples(samples: Sequence[Sequence[float | None]], clusters: Sequence[Hashable]) -> Estimate:
    """The same over items that were asked several times each, an item being worth the mean of what is known of it."""
    told = [[value for value in own if value is not None] for own in samples]
    known = [(sum(own) / len(own), cluster) for own, cluster in zip(told, clusters, strict=True) if own]
    alone = rate_by_cluster([value for value, _ in known], [cluster for _, cluster in known])
    if not any(None in own for own in samples):
        return alone
    either = ([[other if value is None else value for value in own] for own in samples] for other in (0.0, 1.0))
    low, high = (rate_by_cluster([sum(own) / len(own) for own in filled], clusters) for filled in either)
    return alone._replace(low=min(low.low, alone.low), high=max(high.high, alone.high))


def items_alone(values: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """The number of items that would tell as much if each stood alone.

    Where all items agree nothing shows how far they hang together, so each cluster counts once.
    """
    parts = _parts(values, clusters)
    n, k, rate = len(values), len(parts), sum(values) / len(values)
    if not 0 < rate < 1 or k == 1:
        return float(k)
    robust = k / (k - 1) * sum((total - rate * size) ** 2 for total, size in parts) / n**2
    return min(float(n), rate * (1 - rate) / robust) if robust else float(n)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """How much higher one rate is than another, with Newcombe's interval made of both their own."""
    if not one.n or not other.n:
        return Estimate(math.nan, 0, -1.0, 1.0)
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, one.n + other.n, value - below, value + above)


def mean_by_cluster(values: Sequence[float], clusters: Sequence[Hashable], draws: int = DRAWS) -> Estimate:
    """A mean of shares (0 to 1), its interval by bootstrap over whole clusters, such as all questions of one picture.

    Where all clusters have the same mean a bootstrap has no width at all; Wilson over the clusters does.
    """
    if not values:
        return Estimate(math.nan, 0, 0.0, 1.0)
    parts = _parts(values, clusters)
    mean = ratio(parts)
    low, high = ratio_interval(parts, draws)
    if low == high:
        low, high = wilson_bounds(min(mean, 1.0), len(parts))
    return Estimate(mean, len(values), low, high)


def _parts(values: Sequence[float], clusters: Sequence[Hashable]) -> list[Part]:
    sums: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        own = sums.setdefault(cluster, [0.0, 0])
        own[0] += value
        own[1] += 1
    return [(total, size) for total, size in sums.values()]


class Averages(NamedTuple):
    """The two means that are so often mixed up: of all items alike, and of all groups alike."""

    micro: Estimate
    macro: Estimate


def averages(values: Sequence[float], groups: Sequence[Hashable], clusters: Sequence[Hashable]) -> Averages:
    """The mean over items (micro) and the mean of the groups' means (macro) of shares from 0 to 1."""
    micro = rate_by_cluster(values, clusters)
    if not values:
        return Averages(micro, micro)
    inside: dict[Hashable, list[int]] = {}
    for item, group in enumerate(groups):
        inside.setdefault(group, []).append(item)
    means = [sum(values[item] for item in items) / len(items) for items in inside.values()]
    macro = sum(means) / len(means)
    alone = 0.0
    for items in inside.values():
        alone += 1 / len({clusters[item] for item in items})
    most = len(means) ** 2 / alone
    spread = _macro_variance(values, list(inside.values()), clusters)
    counted = min(macro * (1 - macro) / spread, float(len(values))) if spread and 0 < macro < 1 else most
    return Averages(micro, Estimate(macro, len(values), *wilson_bounds(min(macro, 1.0), counted)))


def _macro_variance(values: Sequence[float], groups: Sequence[Sequence[int]], clusters: Sequence[Hashable]) -> float:
    """The variance of the mean of means, from how far each cluster draws its groups' means."""
    pulls: dict[Hashable, float] = {}
    overall = sum(values) / len(values)
    for items in groups:
        k = len({clusters[item] for item in items})
        # One cluster alone shows no spread of its own: the overall mean stands in for its group's.
        mean = sum(values[item] for item in items) / len(items) if k > 1 else overall
        scale = math.sqrt(k / (k - 1)) if k > 1 else 1.0
        for item in items:
            pull = scale * (values[item] - mean) / len(items)
            pulls[clusters[item]] = pulls.get(clusters[item], 0.0) + pull
    return sum(pull**2 for pull in pulls.values()) / len(groups) ** 2
