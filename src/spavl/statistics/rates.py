"""Rates and means, each with its interval."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from spavl.statistics.beta_binomial import rate_bounds as beta_binomial_bounds
from spavl.statistics.bootstrap import DRAWS, Part, ratio, ratio_interval
from spavl.statistics.estimates import Z95, Estimate
from spavl.statistics.laws import beta_quantile, reach95


def wilson(hits: float, n: int) -> Estimate:
    """A rate with Wilson's interval, which unlike the normal approximation is valid at rates of 0 and 1."""
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
    """A rate with the exact interval, whose coverage is at least 95 % at every true rate.

    It is wider than Wilson's, whose coverage is 95 % on average over true rates. Use it for guarantees, not for
    comparisons.
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
    """A rate over the judged items; its interval covers every possible value of the unknown ones."""
    everything = hits + misses + unknown
    low, high = wilson(hits, everything).low, wilson(hits + unknown, everything).high
    return wilson(hits, hits + misses)._replace(low=low, high=high)


def rate_by_cluster(hits: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """A rate in the population of clusters, such as all images of a kind.

    The interval is cluster-robust (`_robust_bounds`). For verdicts, 0 or 1, it also contains that of the beta-binomial
    posterior: the first assumes no distribution but needs many clusters, the second accounts for what few clusters do
    not show. Independent verdicts have Wilson's interval. If all verdicts are equal, the correlation within clusters is
    unknown, so each cluster counts once.
    """
    parts, n = _parts(hits, clusters), len(hits)
    if not n:
        return wilson(0, 0)
    rate, k, verdicts = ratio(parts), len(parts), set(hits) <= {0, 1}
    if k == 1 < n:
        return Estimate(rate, n, 0.0, 1.0)
    if rate in (0, 1) or (verdicts and k == n):
        return Estimate(rate, n, *wilson_bounds(rate, k))
    low, high = _robust_bounds(parts)
    if verdicts:
        least, most = beta_binomial_bounds(parts)
        low, high = min(low, least), max(high, most)
    return Estimate(rate, n, min(low, rate), max(high, rate))


def _robust_bounds(parts: Sequence[Part]) -> tuple[float, float]:
    """Wilson's interval for the number of independent items that would have the observed variance between clusters.

    It uses Student's t for the number of clusters, and is wider on the side on which the clusters are more skewed than
    a plain rate (the term of order 1 / sqrt(k) in Hall 1992).
    """
    k, n, rate = len(parts), sum(size for _, size in parts), ratio(parts)
    pulls = [total - rate * size for total, size in parts]
    square = math.fsum(pull * pull for pull in pulls)
    if k == 1 or square <= 1e-18 * n * n:
        return wilson_bounds(rate, k)
    variance, t = k / (k - 1) * square / n**2, reach95(k)
    skewness = math.fsum(pull**3 for pull in pulls) / square**1.5
    usual = (1 - 2 * rate) * math.sqrt(variance) / (rate * (1 - rate))
    more = (2 * t * t + 1) / 6 * (skewness - usual)
    alone = rate * (1 - rate) / variance
    return wilson_bounds(rate, alone, t + max(0.0, -more))[0], wilson_bounds(rate, alone, t + max(0.0, more))[1]


def rate_with_unknown(values: Sequence[float | None], clusters: Sequence[Hashable]) -> Estimate:
    """A rate over the judged items, by cluster; its interval covers every possible value of the unknown ones."""
    return rate_of_samples([(value,) for value in values], clusters)


def rate_of_samples(samples: Sequence[Sequence[float | None]], clusters: Sequence[Hashable]) -> Estimate:
    """As `rate_with_unknown`, for items with several samples each; an item's value is the mean of its known samples.

    All samples of an item are in the cluster of the item. More samples narrow the interval only if the items differ no
    more than their samples do.
    """
    told = [[value for value in own if value is not None] for own in samples]
    known = [(own, cluster) for own, cluster in zip(told, clusters, strict=True) if own]
    means = [sum(own) / len(own) for own, _ in known]
    found = _of_samples([own for own, _ in known], [cluster for _, cluster in known])
    found = found._replace(value=sum(means) / len(means) if means else math.nan, n=len(known))
    if not any(None in own for own in samples):
        return found
    least, most = (
        _of_samples([[other if value is None else value for value in own] for own in samples], clusters)
        for other in (0.0, 1.0)
    )
    return found._replace(low=least.low, high=most.high)


def _of_samples(samples: Sequence[Sequence[float]], clusters: Sequence[Hashable]) -> Estimate:
    if len({len(own) for own in samples}) > 1:
        return rate_by_cluster([sum(own) / len(own) for own in samples], clusters)
    pairs = [(value, cluster) for own, cluster in zip(samples, clusters, strict=True) for value in own]
    return rate_by_cluster([value for value, _ in pairs], [cluster for _, cluster in pairs])


def difference(one: Estimate, other: Estimate) -> Estimate:
    """The first rate minus the second, with Newcombe's interval, which combines both intervals."""
    if not one.n or not other.n:
        return Estimate(math.nan, 0, -1.0, 1.0)
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, one.n + other.n, value - below, value + above)


def mean_by_cluster(values: Sequence[float], clusters: Sequence[Hashable], draws: int = DRAWS) -> Estimate:
    """A mean of shares (0 to 1), its interval by bootstrap over whole clusters, such as all questions of one image.

    If all clusters have the same mean, the bootstrap has no width; then Wilson's interval over the clusters is used.
    """
    if not values:
        return Estimate(math.nan, 0, 0.0, 1.0)
    parts = _parts(values, clusters)
    mean = ratio(parts)
    if len(parts) == 1 < len(values):
        return Estimate(mean, len(values), 0.0, 1.0)
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


class MicroMacro(NamedTuple):
    """The mean with equal weight for each item (micro), and with equal weight for each group (macro)."""

    micro: Estimate
    macro: Estimate


def averages(values: Sequence[float], groups: Sequence[Hashable], clusters: Sequence[Hashable]) -> MicroMacro:
    """The mean over items (micro) and the mean of the groups' means (macro) of shares from 0 to 1."""
    micro = rate_by_cluster(values, clusters)
    if not values:
        return MicroMacro(micro, micro)
    inside: dict[Hashable, list[int]] = {}
    for item, group in enumerate(groups):
        inside.setdefault(group, []).append(item)
    means = [sum(values[item] for item in items) / len(items) for items in inside.values()]
    macro = sum(means) / len(means)
    if len(set(clusters)) == 1 < len(values):
        return MicroMacro(micro, Estimate(macro, len(values), 0.0, 1.0))
    alone = 0.0
    for items in inside.values():
        alone += 1 / len({clusters[item] for item in items})
    most = len(means) ** 2 / alone
    spread = _macro_variance(values, list(inside.values()), clusters)
    counted = most
    if spread and 0 < macro < 1:
        weights = math.fsum(1 / len(items) for items in inside.values()) / len(means) ** 2
        reach = reach95(len(set(clusters))) / Z95
        counted = min(macro * (1 - macro) / spread / reach**2, 1 / weights / _design_effect(micro))
    return MicroMacro(micro, Estimate(macro, len(values), *wilson_bounds(min(macro, 1.0), counted)))


def macro_of_samples(
    samples: Sequence[Sequence[float | None]], groups: Sequence[Hashable], clusters: Sequence[Hashable]
) -> Estimate:
    """The macro mean of the known values; its interval covers every possible value of the unknown ones."""
    told = [[value for value in own if value is not None] for own in samples]
    known = [place for place, own in enumerate(told) if own]
    rows = [told[place] for place in known], [groups[place] for place in known], [clusters[place] for place in known]
    found = _macro(*rows)._replace(n=len(known))
    if not any(None in own for own in samples):
        return found
    least, most = (
        _macro([[other if value is None else value for value in own] for own in samples], groups, clusters)
        for other in (0.0, 1.0)
    )
    return found._replace(low=least.low, high=most.high)


def _macro(samples: Sequence[Sequence[float]], groups: Sequence[Hashable], clusters: Sequence[Hashable]) -> Estimate:
    """As `_of_samples`: if all items have the same number of samples, the samples are verdicts."""
    if len({len(own) for own in samples}) > 1:
        return averages([sum(own) / len(own) for own in samples], groups, clusters).macro
    rows = [row for own, *at in zip(samples, groups, clusters, strict=True) for row in ((value, *at) for value in own)]
    return averages(*zip(*rows, strict=True)).macro if rows else wilson(0, 0)


def _design_effect(rate: Estimate) -> float:
    """The factor by which clustering raises the number of items needed for the same precision."""
    low, high = wilson_bounds(min(rate.value, 1.0), rate.n)
    return max(1.0, ((rate.high - rate.low) / (high - low)) ** 2)


def _macro_variance(values: Sequence[float], groups: Sequence[Sequence[int]], clusters: Sequence[Hashable]) -> float:
    """The variance of the macro mean, from the influence of each cluster on its groups' means."""
    pulls: dict[Hashable, float] = {}
    overall = sum(values) / len(values)
    for items in groups:
        k = len({clusters[item] for item in items})
        # A single cluster shows no spread: the overall mean replaces that of its group.
        mean = sum(values[item] for item in items) / len(items) if k > 1 else overall
        scale = math.sqrt(k / (k - 1)) if k > 1 else 1.0
        for item in items:
            pull = scale * (values[item] - mean) / len(items)
            pulls[clusters[item]] = pulls.get(clusters[item], 0.0) + pull
    return sum(pull**2 for pull in pulls.values()) / len(groups) ** 2
