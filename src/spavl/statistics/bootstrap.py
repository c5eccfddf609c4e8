"""Cluster bootstrap intervals, for skewed data and few clusters.

It is the bias-corrected and accelerated bootstrap (Efron 1987): the plain one fails for rare events, such
as 1 unsafe answer in 265. Its ends are widened like Student's t, since few clusters understate the
spread (Hesterberg 2015). The seed is fixed and clusters are sorted: the same items give the same
interval in any order.
"""

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from statistics import NormalDist

from spavl.statistics.laws import normal_cdf, reach95

DRAWS = 2000

# A cluster's part of a ratio: the sum of its values, and its number of items.
Part = tuple[float, float]


def ratio_interval(parts: Sequence[Part], draws: int = DRAWS) -> tuple[float, float]:
    """The interval of the mean of all items of these clusters."""
    rng, units, value = random.Random(0), sorted(parts), ratio(parts)
    drawn = sorted(ratio(rng.choices(units, k=len(units))) for _ in range(draws))
    if drawn[0] == drawn[-1]:
        return value, value
    below, upto = bisect_left(drawn, value - 1e-12), bisect_right(drawn, value + 1e-12)
    share = min(max((below + upto) / (2 * draws), 0.5 / draws), 1 - 0.5 / draws)
    bend = _acceleration([total - value * size for total, size in parts])
    bias, reach = NormalDist().inv_cdf(share), _reach(len(units))
    low, high = (_level(bias, bend, side) for side in (-reach, reach))
    return drawn[int(low * (draws - 1))], drawn[math.ceil(high * (draws - 1))]


def ratio(parts: Sequence[Part]) -> float:
    totals, sizes = zip(*parts, strict=True)
    return float(sum(totals) / sum(sizes))


def _level(bias: float, bend: float, reach: float) -> float:
    moved = bias + reach
    slack = 1 - bend * moved
    return normal_cdf(bias + moved / slack) if slack > 0 else float(moved > 0)


def _acceleration(pulls: Sequence[float]) -> float:
    size = sum(pull * pull for pull in pulls) ** 1.5
    return sum(pull**3 for pull in pulls) / (6 * size) if size else 0.0


def _reach(units: int) -> float:
    """The half-width of the interval in standard errors: 1.96 for many units, more for few."""
    return reach95(units) * math.sqrt(units / (units - 1)) if units > 1 else math.inf
