"""Paired comparison of two models on the same items: difference, interval, test."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import binomial_cdf
from spavl.statistics.rates import rate_by_cluster

# Where a test says that two models differ, and an interval of 95 % leaves out that they do not.
ALPHA = 0.05
# An interval that is wider than its test ends this far from no difference.
_JUST_OFF = 1e-6
# So many draws of signs are made together, which bounds the memory.
_AT_ONCE = 500


def mcnemar(before_only: int, after_only: int) -> float:
    """Exact two-sided p that `before` and `after` differ, from the items on which just one of them is positive."""
    return min(1.0, 2 * binomial_cdf(min(before_only, after_only), before_only + after_only, 0.5))


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p that one model wins more often than it loses. Ties say nothing either way."""
    return mcnemar(wins, losses)


def paired_difference(ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """How much higher the first model's mean is on the same items (shares, 0 to 1).

    It is the share by which the first is higher less the share by which the second is. Each is a rate by cluster;
    their intervals and their correlation make that of the difference (Newcombe 1998, Zou and Donner 2008). It holds
    0 just where `paired_p` is above 5 %.
    """
    n = len(ones)
    if not n:
        return Estimate(math.nan, 0, -1.0, 1.0)
    gaps = [one - other for one, other in zip(ones, others, strict=True)]
    more = rate_by_cluster([max(gap, 0.0) for gap in gaps], clusters)
    less = rate_by_cluster([max(-gap, 0.0) for gap in gaps], clusters)
    along = _correlation(gaps, clusters, more.value, less.value)
    value = more.value - less.value
    low = value - _apart(more.value - more.low, less.high - less.value, along)
    high = value + _apart(more.high - more.value, less.value - less.low, along)
    if paired_p(ones, others, clusters) > ALPHA:
        return Estimate(value, n, min(low, 0.0), max(high, 0.0))
    if value > 0:
        return Estimate(value, n, max(low, _JUST_OFF), high)
    return Estimate(value, n, low, min(high, -_JUST_OFF))


# What is known of the samples of one item; None could not be judged or never came.
Samples = Sequence[float | None]


class PairedTest(NamedTuple):
    """Two models on the same items."""

    # How much higher the first one's mean is, over the items of which something is known of both.
    difference: Estimate
    p: float


def compared(ones: Sequence[Samples], others: Sequence[Samples], clusters: Sequence[Hashable]) -> PairedTest:
    """The difference of two models on the same items, each asked once or several times, and its p.

    What is not known of either may have been anything: the interval reaches over it, and p is the largest that it
    could make.
    """
    rows = list(zip(ones, others, clusters, strict=True))
    known = [(_told(one), _told(other), cluster) for one, other, cluster in rows if _told(one) and _told(other)]
    found, p = _compared(known)
    if not any(None in one or None in other for one, other, _ in rows):
        return PairedTest(found, p)
    least, most = (
        [(_filled(one, mine), _filled(other, 1 - mine), cluster) for one, other, cluster in rows] for mine in (0.0, 1.0)
    )
    (lowest, one_p), (highest, other_p) = _compared(least), _compared(most)
    # Where nothing is known of any item there is no value to hold.
    held = [found.value] if known else []
    found = found._replace(low=min([lowest.low, *held]), high=max([highest.high, *held]))
    unsure = lowest.value <= 0 <= highest.value
    return PairedTest(found, 1.0 if unsure else max(one_p, other_p))


_Row = tuple[Sequence[float], Sequence[float], Hashable]


def _compared(rows: Sequence[_Row]) -> PairedTest:
    """Where all items have as many samples, these are verdicts in a cluster and not shares.

    A share of 0.1 seems to be one of the values that there are; one unsafe sample of ten is one that could have been
    more. Both models' samples are set side by side in the order of their value: that of their drawing says nothing.
    """
    one, other, clusters = list[float](), list[float](), list[Hashable]()
    alike = len({(len(own), len(theirs)) for own, theirs, _ in rows}) == 1
    for own, theirs, cluster in rows:
        pairs = math.lcm(len(own), len(theirs)) if alike else 1
        one += sorted([*own] * (pairs // len(own))) if alike else [sum(own) / len(own)]
        other += sorted([*theirs] * (pairs // len(theirs))) if alike else [sum(theirs) / len(theirs)]
        clusters += [cluster] * pairs
    return PairedTest(paired_difference(one, other, clusters)._replace(n=len(rows)), paired_p(one, other, clusters))


def _told(samples: Samples) -> list[float]:
    return [value for value in samples if value is not None]


def _filled(samples: Samples, other: float) -> list[float]:
    return [other if value is None else value for value in samples]


def win_rate(shares: Sequence[float | None], clusters: Sequence[Hashable]) -> Estimate:
    """How often one model wins against another, where a share of 1/2 is a tie; None is not known.

    The interval reaches over what is not known, whatever it was, and holds 1/2 just where `win_p` is above 5 %.
    """
    known = [(share, cluster) for share, cluster in zip(shares, clusters, strict=True) if share is not None]
    found = _won([share for share, _ in known], [cluster for _, cluster in known])
    if len(known) == len(shares):
        return found
    lost, won = _either_way(shares)
    return found._replace(low=_won(lost, clusters).low, high=_won(won, clusters).high)


def win_p(shares: Sequence[float | None], clusters: Sequence[Hashable]) -> float:
    """Two-sided p that neither model wins more often: the sign test's where comparisons stand alone, or `flip_test`'s.

    Of what the shares that are not known could have been, that which makes it the least sure.
    """
    lost, won = _either_way(shares)
    if lost != won and sum(lost) <= len(shares) / 2 <= sum(won):
        return 1.0
    return max(paired_p(own, [1 - share for share in own], clusters) for own in (lost, won))


def _either_way(shares: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """As if all that is not known were lost, and as if it were won."""
    lost, won = ([other if share is None else share for share in shares] for other in (0.0, 1.0))
    return lost, won


def _won(shares: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    gap = paired_difference(shares, [1 - share for share in shares], clusters)
    return Estimate((1 + gap.value) / 2, gap.n, (1 + gap.low) / 2, (1 + gap.high) / 2)


def paired_p(ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """McNemar's exact p of verdicts that stand alone, else that of `flip_test`."""
    gaps = [one - other for one, other in zip(ones, others, strict=True)]
    if stand_alone(clusters) and set(gaps) <= {-1, 0, 1}:
        return mcnemar(gaps.count(-1), gaps.count(1))
    return flip_test(ones, others, clusters)


def least_p(clusters: int) -> float:
    """The smallest p that so many items or clusters of them can have: each of them may fall to either model."""
    return min(1.0, 2 * 0.5**clusters)


def stand_alone(clusters: Sequence[Hashable]) -> bool:
    return len(set(clusters)) == len(clusters)


def _apart(one: float, other: float, along: float) -> float:
    return math.sqrt(max(0.0, one**2 + other**2 - 2 * along * one * other))


def _correlation(gaps: Sequence[float], clusters: Sequence[Hashable], more: float, less: float) -> float:
    """Of the clusters' shares by which one model is higher with those by which the other is."""
    sums: dict[Hashable, tuple[float, float]] = {}
    for gap, cluster in zip(gaps, clusters, strict=True):
        up, down = sums.get(cluster, (0.0, 0.0))
        sums[cluster] = up + max(gap, 0.0) - more, down + max(-gap, 0.0) - less
    ups, downs = math.fsum(up * up for up, _ in sums.values()), math.fsum(down * down for _, down in sums.values())
    both = math.fsum(up * down for up, down in sums.values())
    if ups + downs < 1e-12:
        # All items of one kind: if they are of any other, more of the one share is less of the other.
        return -1.0
    return both / math.sqrt(ups * downs) if ups * downs > 0 else 0.0


def flip_test(
    ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable], draws: int = 10_000
) -> float:
    """Two-sided p that two models' scores on the same items differ, where items of one cluster hang together.

    If each cluster's difference could as well have the other sign, p is the share of ways to choose the signs that
    make a difference at least as great as the one seen. It is counted out where differences are of verdicts or of
    wins, whole or half; where they are of other shares, it is counted out if the ways are few and drawn if they are
    many. Either way it is right at every level, if the differences are as likely to have either sign. Two models of
    equal rates may err in another way each, one in a few clusters throughout and one a little in all: then it finds
    a difference too often where clusters are few.
    """
    signed = [gap for gap in _gaps(ones, others, clusters).values() if gap]
    gaps, seen = [abs(gap) for gap in signed], abs(sum(signed)) - 1e-9
    halves = [round(2 * gap) for gap in gaps]
    if all(abs(2 * gap - half) < 1e-9 for gap, half in zip(gaps, halves, strict=True)):
        return _counted_out(halves, 2 * seen)
    if 2 ** len(gaps) <= draws:
        sums = np.zeros(1)
        for gap in gaps:
            sums = np.concatenate([sums - gap, sums + gap])
        return float((abs(sums) >= seen).mean())
    rng, many = np.random.default_rng(0), 0
    # In the order of their size: the order of the clusters has no say.
    gaps.sort()
    for first in range(0, draws, _AT_ONCE):
        risen = rng.integers(0, 2, (min(_AT_ONCE, draws - first), len(gaps))) @ np.array(gaps)
        many += int((abs(2 * risen - sum(gaps)) >= seen).sum())
    return (1 + many) / (1 + draws)


def _counted_out(gaps: Sequence[int], seen: float) -> float:
    """The chance that the gaps, each with a sign drawn for it, add up to as much as was seen."""
    # By how much those with a plus add up to, how likely that is.
    chances = np.ones(1)
    for gap in gaps:
        nothing = np.zeros(gap)
        chances = (np.concatenate([chances, nothing]) + np.concatenate([nothing, chances])) / 2
    risen = np.arange(len(chances))
    return float(chances[abs(2 * risen - sum(gaps)) >= seen].sum())


def _gaps(ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable]) -> dict[Hashable, float]:
    """Of every cluster, the sum of the differences."""
    found: dict[Hashable, float] = {}
    for one, other, cluster in zip(ones, others, clusters, strict=True):
        found[cluster] = found.get(cluster, 0.0) + one - other
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
