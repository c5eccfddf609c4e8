"""Rank correlation."""

import math
from collections import Counter
from collections.abc import Sequence

from spavl.statistics.estimates import Z95, Estimate


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> Estimate:
    """Spearman's correlation, with the interval of Bonett and Wright.

    A perfect order is treated as one swap of neighbours away from perfect: its interval would have no width otherwise.
    """
    n = len(xs)
    one, other = _centred_ranks(xs), _centred_ranks(ys)
    size = math.sqrt(sum(x * x for x in one) * sum(y * y for y in other))
    if not size:
        return Estimate(math.nan, n, -1.0, 1.0)
    value = max(-1.0, min(1.0, sum(x * y for x, y in zip(one, other, strict=True)) / size))
    if n < 4:
        return Estimate(value, n, -1.0, 1.0)
    most = 1 - 12 / (n * (n * n - 1))
    near = max(-most, min(most, value))
    reach = Z95 * math.sqrt((1 + near**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(near) + side) for side in (-reach, reach))
    return Estimate(value, n, min(low, value), max(high, value))


def _centred_ranks(values: Sequence[float]) -> list[float]:
    """Ranks minus their mean; equal values share the mean of their ranks."""
    below: dict[float, float] = {}
    number = 0
    for value, times in sorted(Counter(values).items()):
        below[value] = number + (times - 1) / 2
        number += times
    return [below[value] - (len(values) - 1) / 2 for value in values]
