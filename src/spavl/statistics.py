"""Statistics of verdicts, as pure functions. No rate leaves spavl without its n and its interval."""

import math
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

_Z95 = 1.959963984540054


class Estimate(NamedTuple):
    """A value, the number of items it rests on, and its 95 % interval."""

    value: float
    n: int
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        """The estimate for a JSON file, in which there is no NaN."""
        return {**self._asdict(), "value": self.value if math.isfinite(self.value) else None}


def wilson(hits: float, n: int) -> Estimate:
    """A rate with Wilson's interval, which holds at 0 and at 1 where the usual one does not."""
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}")
    if n == 0:
        return Estimate(math.nan, 0, 0.0, 1.0)
    return Estimate(hits / n, n, *_wilson_bounds(hits / n, n))


def _wilson_bounds(rate: float, n: float) -> tuple[float, float]:
    z2 = _Z95**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(0.0, middle - reach) if rate else 0.0, min(1.0, middle + reach) if rate < 1 else 1.0


def wilson_with_unknown(hits: int, misses: int, unknown: int) -> Estimate:
    """A rate over the items that could be judged, whose interval reaches over the others whatever they were."""
    everything = hits + misses + unknown
    low, high = wilson(hits, everything).low, wilson(hits + unknown, everything).high
    return wilson(hits, hits + misses)._replace(low=low, high=high)


def rate_by_cluster(hits: Sequence[bool], clusters: Sequence[Hashable]) -> Estimate:
    """A rate with Wilson's interval, widened as far as the items of one cluster hang together.

    The number of items that would tell as much if each stood alone takes the place of n; for
    millions of items this is instant where a bootstrap takes minutes. Where all items agree
    nothing shows how far they hang together, so each cluster counts once.
    """
    sums: dict[Hashable, list[int]] = {}
    for hit, cluster in zip(hits, clusters, strict=True):
        own = sums.setdefault(cluster, [0, 0])
        own[0] += hit
        own[1] += 1
    n, k = len(hits), len(sums)
    if not n:
        return wilson(0, 0)
    rate = sum(hits) / n
    alone: float = k
    if 0 < rate < 1 and k > 1:
        robust = k / (k - 1) * sum((hit - rate * size) ** 2 for hit, size in sums.values()) / n**2
        alone = min(n, rate * (1 - rate) / robust) if robust else n
    return Estimate(rate, n, *_wilson_bounds(rate, alone))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """How much higher one rate is than another, with Newcombe's interval made of both their own."""
    if not one.n or not other.n:
        return Estimate(math.nan, 0, -1.0, 1.0)
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, one.n + other.n, value - below, value + above)


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


def kappa(says: Sequence[tuple[Hashable, Hashable]], clusters: Sequence[Hashable]) -> Estimate:
    """Cohen's kappa of two judges: their agreement beyond chance. Its interval is by jackknife over whole clusters.

    Where leaving out any cluster changes nothing, as in perfect agreement, the jackknife has no
    width; then the agreement's own interval over the clusters is taken, at the same chance.
    """
    groups: dict[Hashable, Counter[tuple[Hashable, Hashable]]] = {}
    for said, cluster in zip(says, clusters, strict=True):
        groups.setdefault(cluster, Counter())[said] += 1
    every, k = Counter(says), len(groups)
    agreed, chance = _agreement(every)
    if not says or chance == 1:
        return Estimate(math.nan, len(says), -1.0, 1.0)
    value = (agreed - chance) / (1 - chance)
    left = [_agreement(every - group) for group in groups.values()]
    values = [(own - luck) / (1 - luck) for own, luck in left if luck < 1]
    middle = sum(values) / len(values) if values else value
    spread = math.sqrt((k - 1) / k * sum((own - middle) ** 2 for own in values))
    if spread > 1e-12:
        return Estimate(value, len(says), max(-1.0, value - _Z95 * spread), min(1.0, value + _Z95 * spread))
    low, high = (max(-1.0, (bound - chance) / (1 - chance)) for bound in _wilson_bounds(agreed, k))
    return Estimate(value, len(says), low, high)


def _agreement(table: Counter[tuple[Hashable, Hashable]]) -> tuple[float, float]:
    """The share on which both say the same, and that which chance alone would bring about."""
    n = table.total()
    if not n:
        return math.nan, 1.0
    ones: Counter[Hashable] = Counter()
    others: Counter[Hashable] = Counter()
    for (one, other), number in table.items():
        ones[one] += number
        others[other] += number
    agreed = sum(number for (one, other), number in table.items() if one == other)
    return agreed / n, sum(ones[name] * others[name] for name in ones) / n**2


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> Estimate:
    """Spearman's correlation, with the interval of Bonett and Wright."""
    n = len(xs)
    one, other = _centred_ranks(xs), _centred_ranks(ys)
    size = math.sqrt(sum(x * x for x in one) * sum(y * y for y in other))
    if not size:
        return Estimate(math.nan, n, -1.0, 1.0)
    value = max(-1.0, min(1.0, sum(x * y for x, y in zip(one, other, strict=True)) / size))
    if n < 4:
        return Estimate(value, n, -1.0, 1.0)
    if abs(value) == 1:
        return Estimate(value, n, value, value)
    reach = _Z95 * math.sqrt((1 + value**2 / 2) / (n - 3))
    return Estimate(value, n, math.tanh(math.atanh(value) - reach), math.tanh(math.atanh(value) + reach))


def _centred_ranks(values: Sequence[float]) -> list[float]:
    """Ranks about their mean; equal values share the mean of their ranks."""
    below: dict[float, float] = {}
    number = 0
    for value, times in sorted(Counter(values).items()):
        below[value] = number + (times - 1) / 2
        number += times
    return [below[value] - (len(values) - 1) / 2 for value in values]
