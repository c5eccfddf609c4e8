"""Intervals by drawing whole clusters again and again, right for lopsided and for few.

It is the bias-corrected and accelerated bootstrap (Efron 1987): the plain one misses rare events, as
1 unsafe answer of 265. Its ends are widened as Student's t is, since few clusters show too little
spread (Hesterberg 2015). The seed is fixed and clusters are sorted: the same items give the same
interval, in whatever order they come.
"""

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any

from spavl.statistics.laws import normal_cdf, t_quantile

DRAWS = 2000

# What a cluster brings to a ratio: its part of the sum, and how many items it has.
Part = tuple[float, float]


def ratio_interval(parts: Sequence[Part], draws: int = DRAWS) -> tuple[float, float]:
    """The interval of the mean of all items of these clusters."""
    value = ratio(parts)
    pulls = [total - value * size for total, size in parts]
    return interval(ratio, sorted(parts), value, pulls, draws)


def ratio(parts: Sequence[Part]) -> float:
    totals, sizes = zip(*parts, strict=True)
    return float(sum(totals) / sum(sizes))


def interval(
    statistic: Callable[[Sequence[Any]], float],
    units: Sequence[Any],
    value: float,
    pulls: Sequence[float],
    draws: int = DRAWS,
) -> tuple[float, float]:
    """The interval of a statistic of units; `pulls` says how far each unit draws it from its value.

    Draws of which the statistic says nothing (NaN) are left out.
    """
    rng = random.Random(0)
    found = (statistic(rng.choices(units, k=len(units))) for _ in range(draws))
    drawn = sorted(each for each in found if not math.isnan(each))
    if not drawn or drawn[0] == drawn[-1]:
        return value, value
    below, upto = bisect_left(drawn, value - 1e-12), bisect_right(drawn, value + 1e-12)
    share = min(max((below + upto) / (2 * len(drawn)), 0.5 / len(drawn)), 1 - 0.5 / len(drawn))
    bias, bend, reach = NormalDist().inv_cdf(share), _acceleration(pulls), _reach(len(units))
    low, high = (_level(bias, bend, side) for side in (-reach, reach))
    last = len(drawn) - 1
    return drawn[int(low * last)], drawn[math.ceil(high * last)]


def _level(bias: float, bend: float, reach: float) -> float:
    moved = bias + reach
    slack = 1 - bend * moved
    return normal_cdf(bias + moved / slack) if slack > 0 else float(moved > 0)


def _acceleration(pulls: Sequence[float]) -> float:
    squares = sum(pull * pull for pull in pulls)
    return sum(pull**3 for pull in pulls) / (6 * squares**1.5) if squares else 0.0


@lru_cache(maxsize=4096)
def _reach(units: int) -> float:
    """How many standard errors the interval reaches to each side: 1.96 for many units, more for few."""
    return t_quantile(0.975, units - 1) * math.sqrt(units / (units - 1)) if units > 1 else math.inf
