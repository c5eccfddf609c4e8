"""The worst leaf: how far its rate is from that of the others, with an interval that allows for its selection.

The worst of fifty leaves looks bad even if all are equal, since it was chosen for its rate. So the gap of every leaf to
the others gets two bounds, and the gap of the truly worst leaf lies between the largest lower and the largest upper
one: above the first with 97.5 %, since the lower bounds are Bonferroni's over all leaves, and below the second with
97.5 %, since the upper bound of the truly worst leaf alone is enough for that. The bounds are exact binomial ones for
as many independent items as the leaf's cluster-robust interval is worth.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from spavl.evaluation.metrics.rates import rate
from spavl.evaluation.metrics.result_table import Metric, ResultCell, ResultColumn
from spavl.statistics import Estimate
from spavl.statistics.laws import beta_cdf, solve
from spavl.statistics.rates import wilson_bounds

# Metrics of which more is better: their worst leaf is the lowest one.
HIGHER_IS_BETTER: tuple[Metric, ...] = ("right", "refusal", "safe_reply")
_TAIL = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstLeafGap:
    """The worst leaf of a rate, and how much worse than all other leaves together the worst one is."""

    cell: ResultCell
    leaf: str
    # The rates of the leaf that looks worst, and of the others together.
    worst: Estimate
    others: Estimate
    # The gap, positive if the leaf is worse; n is that of all leaves. Its interval is that of the truly worst leaf.
    gap: Estimate
    # The leaves that are worse than the others beyond doubt: at 97.5 %, all of them together.
    clearly_worse: tuple[str, ...]
    leaves: int


def worst_leaf_gap(cell: ResultCell, leaves: Mapping[str, ResultColumn]) -> WorstLeafGap | None:
    """None if fewer than two leaves have a rate."""
    bad = -1 if cell.metric in HIGHER_IS_BETTER else 1
    rates = {leaf: (rate(column), rate(_others(leaf, leaves))) for leaf, column in leaves.items()}
    rates = {leaf: (one, rest) for leaf, (one, rest) in rates.items() if one.n and rest.n}
    if len(rates) < 2:
        return None
    gaps = {leaf: bad * (one.value - rest.value) for leaf, (one, rest) in rates.items()}
    leaf = max(sorted(gaps), key=gaps.__getitem__)
    least = {name: _lower(one, rest, bad, _TAIL / len(rates)) for name, (one, rest) in rates.items()}
    most = max(-_lower(one, rest, -bad, _TAIL) for one, rest in rates.values())
    worst, others = rates[leaf]
    return WorstLeafGap(
        cell=cell,
        leaf=leaf,
        worst=worst,
        others=others,
        gap=Estimate(gaps[leaf], sum(one.n for one, _ in rates.values()), max(least.values()), max(most, gaps[leaf])),
        clearly_worse=tuple(sorted(name for name, low in least.items() if low > 0)),
        leaves=len(rates),
    )


def leaves_of(column: ResultColumn) -> dict[str, ResultColumn]:
    places: dict[str, list[int]] = {}
    for place, item in enumerate(column.items):
        places.setdefault(item.group, []).append(place)
    return {leaf: column.only(places[leaf]) for leaf in sorted(places)}


def _others(leaf: str, leaves: Mapping[str, ResultColumn]) -> ResultColumn:
    rest = [column for name, column in leaves.items() if name != leaf]
    return ResultColumn(
        [item for column in rest for item in column.items], [values for column in rest for values in column.values]
    )


def _lower(one: Estimate, other: Estimate, sign: int, tail: float) -> float:
    """The lower bound, missed with this probability, of the first rate minus the second, or of its negative.

    The bounds of both are joined as squares (Zou and Donner 2008).
    """
    if sign > 0:
        below, above = one.value - lower_bound(one, tail), upper_bound(other, tail) - other.value
    else:
        below, above = upper_bound(one, tail) - one.value, other.value - lower_bound(other, tail)
    return sign * (one.value - other.value) - math.hypot(below, above)


def lower_bound(estimate: Estimate, tail: float) -> float:
    """The bound below which a rate lies with at most this probability, from its interval of 95 %.

    The interval says how many independent items the rate is worth; it is wider where items share images, and where
    answers have no verdict.
    """
    worth = _worth(estimate)
    hits = worth * estimate.value
    # Unknown answers may reach further on one side.
    return min(_beta_quantile(tail, hits, worth - hits + 1) if hits > 0 else 0.0, estimate.low)


def upper_bound(estimate: Estimate, tail: float) -> float:
    """The bound above which a rate lies with at most this probability."""
    worth = _worth(estimate)
    misses = worth * (1 - estimate.value)
    return max(1 - _beta_quantile(tail, misses, worth - misses + 1) if misses > 0 else 1.0, estimate.high)


def _worth(estimate: Estimate) -> float:
    low, high = wilson_bounds(min(1.0, max(0.0, estimate.value)), estimate.n)
    return estimate.n * min(1.0, ((high - low) / (estimate.high - estimate.low)) ** 2)


@lru_cache(maxsize=4096)
def _beta_quantile(share: float, a: float, b: float) -> float:
    """To seven digits, which takes a fraction of the time of all of them."""
    return solve(lambda x: beta_cdf(x, a, b) - share, 0.0, 1.0, close=1e-7)
