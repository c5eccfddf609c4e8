"""Two models on the same items: how far apart they are, and whether it can be chance."""

import math
import random
from collections.abc import Hashable, Sequence

from spavl.statistics.bootstrap import DRAWS, ratio, ratio_interval
from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import binomial_cdf


def mcnemar(before_only: int, after_only: int) -> float:
    """Exact two-sided p that `before` and `after` differ, from the items on which just one of them is positive."""
    return min(1.0, 2 * binomial_cdf(min(before_only, after_only), before_only + after_only, 0.5))


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p that one model wins more often than it loses. Ties say nothing either way."""
    return mcnemar(wins, losses)


def paired_difference(
    ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable], draws: int = DRAWS
) -> Estimate:
    """How much higher the first model's mean is on the same items (shares, 0 to 1), by bootstrap over clusters.

    Two clusters more are thought of, of which each model wins one wholly (Bonett and Price 2012): where the
    two hardly ever differ, those seen to differ are too few to tell how far it goes.
    """
    if not ones:
        return Estimate(math.nan, 0, -1.0, 1.0)
    parts = list(_gaps(ones, others, clusters).values())
    value, size = ratio(parts), len(ones) / len(parts)
    low, high = ratio_interval([*parts, (size, size), (-size, size)], draws)
    return Estimate(value, len(ones), min(low, value), max(high, value))


def flip_test(
    ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable], draws: int = 10_000
) -> float:
    """Two-sided p that two models' scores on the same items differ, where items of one cluster hang together.

    If they did not differ, each cluster's difference could as well have the other sign: p is the share of
    ways to choose the signs that make a difference at least as great as the one seen. It is counted out
    where differences are of verdicts or of wins, whole or half; where they are of other shares, it is counted
    out if the ways are few and drawn if they are many. Either way it is right at every level.
    """
    signed = [gap for gap, _ in _gaps(ones, others, clusters).values() if gap]
    gaps, seen = [abs(gap) for gap in signed], abs(sum(signed)) - 1e-9
    halves = [round(2 * gap) for gap in gaps]
    if all(abs(2 * gap - half) < 1e-9 for gap, half in zip(gaps, halves, strict=True)):
        return _counted_out(halves, 2 * seen)
    if 2 ** len(gaps) <= draws:
        sums = [0.0]
        for gap in gaps:
            sums = [each + sign * gap for each in sums for sign in (-1, 1)]
        return sum(abs(each) >= seen for each in sums) / len(sums)
    rng, whole, many = random.Random(0), sum(gaps), 0
    for _ in range(draws):
        bits = rng.getrandbits(len(gaps))
        risen = sum(gap for place, gap in enumerate(gaps) if bits >> place & 1)
        many += abs(2 * risen - whole) >= seen
    return (1 + many) / (1 + draws)


def _counted_out(gaps: Sequence[int], seen: float) -> float:
    """The chance that the gaps, each with a sign drawn for it, add up to as much as was seen."""
    # By how much those with a plus add up to, how likely that is.
    chances = [1.0]
    for gap in gaps:
        nothing = [0.0] * gap
        pairs = zip([*chances, *nothing], [*nothing, *chances], strict=True)
        chances = [(without + with_it) / 2 for without, with_it in pairs]
    whole = sum(gaps)
    return math.fsum(chance for risen, chance in enumerate(chances) if abs(2 * risen - whole) >= seen)


def _gaps(
    ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable]
) -> dict[Hashable, tuple[float, float]]:
    """Of every cluster, the sum of the differences, and how many items it has."""
    found: dict[Hashable, tuple[float, float]] = {}
    for one, other, cluster in zip(ones, others, clusters, strict=True):
        total, size = found.get(cluster, (0.0, 0))
        found[cluster] = total + one - other, size + 1
    return found


def holm_within(families: Sequence[Hashable], ps: Sequence[float]) -> list[float]:
    """Holm's correction of each family of questions by itself."""
    places: dict[Hashable, list[int]] = {}
    for place, family in enumerate(families):
        places.setdefault(family, []).append(place)
    raised = [0.0] * len(ps)
    for own in places.values():
        for place, p in zip(own, holm([ps[place] for place in own]), strict=True):
            raised[place] = p
    return raised


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values of several questions asked at once, each raised so that one error among all stays as rare."""
    raised, most = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        most = max(most, min(1.0, (len(ps) - rank) * ps[place]))
        raised[place] = most
    return raised
