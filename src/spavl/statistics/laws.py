"""Distributions, correct to ten digits, with the standard library only."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

_TINY = 1e-300


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    # The fraction converges fast on this side of the mean; on the other side its mirror image does.
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) / a * _fraction(x, a, b)
    return 1 - math.exp(log_front) / b * _fraction(1 - x, b, a)


def _fraction(x: float, a: float, b: float) -> float:
    """Lentz's evaluation of the continued fraction of the incomplete beta function."""
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value, m = d, 0
    while m < 100_000:
        m += 1
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + step * d)
            c = _away_from_zero(1 + step / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(share: float, a: float, b: float) -> float:
    return solve(lambda x: beta_cdf(x, a, b) - share, 0.0, 1.0)


def binomial_cdf(hits: int, n: int, rate: float) -> float:
    """The probability of at most `hits` hits."""
    if hits < 0:
        return 0.0
    return 1.0 if hits >= n else beta_cdf(1 - rate, n - hits, hits + 1)


def t_cdf(x: float, freedom: float) -> float:
    inside = beta_cdf(x * x / (freedom + x * x), 0.5, freedom / 2)
    return 0.5 + math.copysign(inside, x) / 2


def t_p(x: float, freedom: float) -> float:
    """The two-sided p value of Student's t, which is exact far in the tails too."""
    return beta_cdf(freedom / (freedom + x * x), freedom / 2, 0.5)


@lru_cache(maxsize=4096)
def t_quantile(share: float, freedom: float) -> float:
    return solve(lambda x: t_cdf(x, freedom) - share, -1e4, 1e4)


@lru_cache(maxsize=65536)
def t_critical(p: float, freedom: float) -> float:
    """The absolute value of Student's t that is exceeded with this probability."""
    return math.exp(solve(lambda log_x: p - t_p(math.exp(log_x), freedom), -40.0, 340.0, close=1e-12))


def joint_t_critical(p: float, parts: Sequence[tuple[float, float]]) -> float:
    """As `t_critical`, where the variance is a sum of parts: the variance and the degrees of freedom of each.

    Cochran's weighted mean of the parts' critical values. It holds its level far in the tails, where corrections for
    many tests need it; Satterthwaite's degrees of freedom do not, since a part of two degrees may look small by chance.
    """
    whole = math.fsum(variance for variance, _ in parts)
    return math.fsum(variance / whole * t_critical(p, freedom) for variance, freedom in parts)


def joint_t_p(x: float, parts: Sequence[tuple[float, float]]) -> float:
    """The two-sided p value by `joint_t_critical`."""
    # It lies between those that each part alone would give.
    ends = [math.log(max(t_p(x, freedom), _TINY)) for _, freedom in parts]
    log_p = solve(lambda log_p: abs(x) - joint_t_critical(math.exp(log_p), parts), min(ends), max(ends), close=1e-8)
    return math.exp(log_p)


def reach95(units: int) -> float:
    """The half-width of a 95 % interval in standard errors, if the error is estimated from this number of units."""
    return t_quantile(0.975, units - 1) if units > 1 else math.inf


def normal_cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def solve(rising: Callable[[float], float], low: float, high: float, close: float = 0.0) -> float:
    """The zero of an increasing function, by bisection until the ends meet or differ by at most `close`."""
    while True:
        middle = (low + high) / 2
        if high - low <= close or middle in (low, high):
            return middle
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
