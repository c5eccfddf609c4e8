"""How far two orders go together."""

import math
from collections import Counter
from collections.abc import Sequence

from spavl.statistics.estimates import Z95, Estimate


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
    reach = Z95 * math.sqrt((1 + value**2 / 2) / (n - 3))
    return Estimate(value, n, math.tanh(math.atanh(value) - reach), math.tanh(math.atanh(value) + reach))


def _centred_ranks(values: Sequence[float]) -> list[float]:
    """Ranks about their mean; equal values share the mean of their ranks."""
    below: dict[float, float] = {}
    number = 0
    for value, times in sorted(Counter(values).items()):
        below[value] = number + (times - 1) / 2
        number += times
    return [below[value] - (len(values) - 1) / 2 for value in values]
