"""Minimum detectable differences. Two-sided, at 5 % if no other level is given."""

import math
from collections.abc import Iterable
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

from spavl.statistics.estimates import Z95
from spavl.statistics.laws import binomial_cdf, solve
from spavl.statistics.paired import ALPHA, mcnemar


class DetectableChange(NamedTuple):
    """The smallest detectable fall and rise of a rate; None if none is detectable."""

    fall: float | None
    rise: float | None


def detectable_change(rate: float, n_before: int, n_after: int, power: float = 0.8) -> DetectableChange:
    """The smallest detectable change of a rate between two independent sets of items."""
    reach = (Z95 + NormalDist().inv_cdf(power)) * math.sqrt(1 / n_before + 1 / n_after)
    # On this scale the error of a rate does not depend on the rate (Cohen's h).
    angle = 2 * math.asin(math.sqrt(rate))
    fall, rise = angle - reach, angle + reach
    return DetectableChange(
        rate - math.sin(fall / 2) ** 2 if fall >= 0 else None,
        math.sin(rise / 2) ** 2 - rate if rise <= math.pi else None,
    )


def detectable_difference(discordant: float, n: int, power: float = 0.8, alpha: float = ALPHA) -> float | None:
    """The smallest difference of two models' rates on the same n items that the exact McNemar test detects.

    `discordant` is the share of items on which only one of the two is positive; the rates differ by at most
    that share. None if n items are too few even for that difference.
    """
    if mcnemar_power(discordant, discordant, n, alpha) < power:
        return None
    return solve(lambda gap: mcnemar_power(gap, discordant, n, alpha) - power, 0.0, discordant, close=1e-6)


def independent_items(sizes: Iterable[int], correlation: float) -> int:
    """The effective number of independent items in clusters of these sizes with this correlation (Kish)."""
    told = list(sizes)
    n = sum(told)
    return round(n / (1 + correlation * (sum(size * size for size in told) / n - 1))) if n else 0


def mcnemar_power(gap: float, discordant: float, n: int, alpha: float = ALPHA) -> float:
    """The power of the exact test for two rates `gap` apart, computed exactly over all possible counts."""
    middle, reach = n * discordant, 7 * math.sqrt(n * discordant * (1 - discordant)) + 7
    upward = 0.5 + gap / discordant / 2 if discordant else 0.5
    found = 0.0
    for count in range(max(1, int(middle - reach)), min(n, math.ceil(middle + reach)) + 1):
        chance = binomial_pmf(count, n, discordant)
        last = _last_rejected(count, alpha)
        if last >= 0 and chance > 1e-12:
            tails = binomial_cdf(last, count, upward) + binomial_cdf(last, count, 1 - upward)
            found += chance * tails
    return found


def binomial_pmf(hits: int, n: int, rate: float) -> float:
    if rate in (0.0, 1.0):
        return float(hits == n * rate)
    log = math.lgamma(n + 1) - math.lgamma(hits + 1) - math.lgamma(n - hits + 1)
    return math.exp(log + hits * math.log(rate) + (n - hits) * math.log1p(-rate))


@cache
def _last_rejected(count: int, alpha: float) -> int:
    """The largest minority among `count` discordant items at which the test still rejects, or -1."""
    low, high = -1, count // 2 + 1
    while high - low > 1:
        middle = (low + high) // 2
        if mcnemar(middle, count - middle) <= alpha:
            low = middle
        else:
            high = middle
    return low
