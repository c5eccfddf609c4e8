"""Statistics of verdicts, as pure functions. No rate leaves spavl without its n and its interval."""

import math
import random
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

_Z95 = 1.959963984540054


class Estimate(NamedTuple):
    """A value, the number of items it rests on, and its 95 % interval."""

    value: float
    n: int
    low: float
    high: float


def wilson(hits: float, n: int) -> Estimate:
    """A rate with Wilson's interval, which holds at 0 and at 1 where the usual one does not."""
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}")
    if n == 0:
        return Estimate(math.nan, 0, 0.0, 1.0)
    rate, z2 = hits / n, _Z95**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return Estimate(rate, n, max(0.0, middle - reach) if hits else 0.0, min(1.0, middle + reach) if hits < n else 1.0)


def wilson_with_unknown(hits: int, misses: int, unknown: int) -> Estimate:
    """A rate over the items that could be judged, whose interval reaches over the others whatever they were."""
    everything = hits + misses + unknown
    low, high = wilson(hits, everything).low, wilson(hits + unknown, everything).high
    return wilson(hits, hits + misses)._replace(low=low, high=high)


def mean_by_cluster(values: Sequence[float], clusters: Sequence[Hashable], draws: int = 2000) -> Estimate:
    """A mean of shares (0 to 1), its interval by bootstrap over whole clusters, such as all questions of one picture.

    Where all clusters have the same mean a bootstrap has no width at all; Wilson over the clusters does.
    The draws come from a fixed seed: the same verdicts give the same interval.
    """
    if not values:
        return Estimate(math.nan, 0, 0.0, 1.0)
    groups: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        groups.setdefault(cluster, []).append(value)
    sums = [(sum(group), len(group)) for group in groups.values()]
    rng = random.Random(0)
    means = sorted(_ratio(rng.choices(sums, k=len(sums))) for _ in range(draws))
    low, high = means[int(0.025 * draws)], means[math.ceil(0.975 * draws) - 1]
    mean = _ratio(sums)
    if low == high:
        _, _, low, high = wilson(min(mean * len(sums), len(sums)), len(sums))
    return Estimate(mean, len(values), low, high)


def _ratio(sums: Iterable[tuple[float, int]]) -> float:
    total, count = 0.0, 0
    for part, size in sums:
        total, count = total + part, count + size
    return total / count


def mcnemar(before_only: int, after_only: int) -> float:
    """Exact two-sided p that `before` and `after` differ, from the items on which just one of them is positive."""
    n, k = before_only + after_only, min(before_only, after_only)
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    return float(min(1.0, 2 * tail))
