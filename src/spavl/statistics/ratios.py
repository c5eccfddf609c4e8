"""The ratio of two sums over the same items, such as the effect of examples relative to the accuracy above chance."""

import math
from collections.abc import Hashable, Sequence

from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import reach95


def ratio_of_sums(tops: Sequence[float], bottoms: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """The sum of the tops divided by the sum of the bottoms, with Fieller's interval over clusters.

    It contains every ratio r for which tops - r * bottoms does not differ significantly from zero, so it is infinite if
    the bottoms may sum to zero. The value is NaN if they sum to zero or less.
    """
    n, sums = len(tops), dict[Hashable, tuple[float, float]]()
    for top, bottom, cluster in zip(tops, bottoms, clusters, strict=True):
        own = sums.get(cluster, (0.0, 0.0))
        sums[cluster] = own[0] + top, own[1] + bottom
    k = len(sums)
    top, bottom = (math.fsum(each) / max(1, k) for each in zip(*sums.values(), strict=True)) if sums else (0.0, 0.0)
    if bottom <= 0:
        return Estimate(math.nan, n, -math.inf, math.inf)
    value, low, high = top / bottom, -math.inf, math.inf
    if k > 1:
        apart = [(one - top, other - bottom) for one, other in sums.values()]
        scale = reach95(k) ** 2 / (k * (k - 1))
        tops2 = top**2 - scale * math.fsum(one * one for one, _ in apart)
        both = top * bottom - scale * math.fsum(one * other for one, other in apart)
        bottoms2 = bottom**2 - scale * math.fsum(other * other for _, other in apart)
        if bottoms2 > 0:
            reach = math.sqrt(max(0.0, both**2 - bottoms2 * tops2))
            low, high = (both - reach) / bottoms2, (both + reach) / bottoms2
    return Estimate(value, n, min(low, value), max(high, value))
