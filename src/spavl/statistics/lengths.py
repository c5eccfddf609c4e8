"""The win rate at equal answer lengths.

Judges favour longer answers. As in length-controlled AlpacaEval (Dubois et al. 2024), a logistic regression
of the outcome on the difference in length, squashed by tanh, is evaluated at a difference of 0.
"""

import math
from collections.abc import Hashable, Sequence

from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import reach95
from spavl.statistics.paired import win_rate

# Beyond these log-odds the fit diverges, and its value at equal length is unknown.
_CERTAIN = 15.0
_STEPS = 50


def length_controlled(
    outcomes: Sequence[float | None], longer_by: Sequence[float], clusters: Sequence[Hashable]
) -> Estimate:
    """The win rate at equal length. `outcomes`: 1 win, 0.5 tie, 0 loss, None unknown; `longer_by`: length differences.

    The interval is cluster-robust and covers every possible value of unknown outcomes. The value is NaN if length alone
    decides every outcome: then nothing is known about equal lengths.
    """
    rows = list(zip(outcomes, longer_by, clusters, strict=True))
    known = _at_equal_length([(outcome, longer, cluster) for outcome, longer, cluster in rows if outcome is not None])
    if None not in outcomes:
        return known
    low, high = (
        _at_equal_length([(other if outcome is None else outcome, longer, own) for outcome, longer, own in rows])
        for other in (0.0, 1.0)
    )
    return known._replace(low=min(known.low, low.low), high=max(known.high, high.high))


def _at_equal_length(rows: Sequence[tuple[float, float, Hashable]]) -> Estimate:
    outcomes, longer_by, clusters = zip(*rows, strict=True) if rows else ((), (), ())
    n = len(outcomes)
    spread = math.sqrt(sum(gap * gap for gap in longer_by) / n) if n else 0.0
    if not spread or len(set(outcomes)) == 1:
        return win_rate(outcomes, clusters)
    squashed = [math.tanh(gap / spread) for gap in longer_by]
    fitted = _fit(outcomes, squashed)
    if fitted is None:
        return Estimate(math.nan, n, 0.0, 1.0)
    level = fitted[0]
    reach = reach95(len(set(clusters))) * math.sqrt(_variance(outcomes, squashed, clusters, fitted))
    return Estimate(_logistic(level), n, _logistic(level - reach), _logistic(level + reach))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _fit(outcomes: Sequence[float], xs: Sequence[float]) -> tuple[float, float] | None:
    """The maximum-likelihood level and slope, by Newton's method; None if they diverge."""
    level = slope = 0.0
    for _ in range(_STEPS):
        (a, b, c), (up, along) = _curvature(xs, level, slope), _scores(outcomes, xs, level, slope)
        size = a * c - b * b
        if size < 1e-12:
            return None
        rise, tilt = (c * up - b * along) / size, (a * along - b * up) / size
        level, slope = level + rise, slope + tilt
        if abs(level) + abs(slope) > 2 * _CERTAIN:
            return None
        if abs(rise) + abs(tilt) < 1e-10:
            return level, slope
    return None


def _scores(outcomes: Sequence[float], xs: Sequence[float], level: float, slope: float) -> tuple[float, float]:
    rests = [outcome - _logistic(level + slope * x) for outcome, x in zip(outcomes, xs, strict=True)]
    return sum(rests), sum(rest * x for rest, x in zip(rests, xs, strict=True))


def _curvature(xs: Sequence[float], level: float, slope: float) -> tuple[float, float, float]:
    shares = [_logistic(level + slope * x) for x in xs]
    weights = [share * (1 - share) for share in shares]
    return (
        sum(weights),
        sum(weight * x for weight, x in zip(weights, xs, strict=True)),
        sum(weight * x * x for weight, x in zip(weights, xs, strict=True)),
    )


def _variance(
    outcomes: Sequence[float], xs: Sequence[float], clusters: Sequence[Hashable], fitted: tuple[float, float]
) -> float:
    """The cluster-robust (sandwich) variance of the level, with the factor k / (k - 1) for few clusters."""
    a, b, c = _curvature(xs, *fitted)
    size = a * c - b * b
    pulls: dict[Hashable, float] = {}
    for outcome, x, cluster in zip(outcomes, xs, clusters, strict=True):
        rest = outcome - _logistic(fitted[0] + fitted[1] * x)
        pulls[cluster] = pulls.get(cluster, 0.0) + (c - b * x) / size * rest
    k = len(pulls)
    return k / (k - 1) * sum(pull**2 for pull in pulls.values()) if k > 1 else math.inf
