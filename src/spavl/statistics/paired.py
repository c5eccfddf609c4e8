"""Paired comparison of two models on the same items: difference, interval, test."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import binomial_cdf
from spavl.statistics.rates import rate_by_cluster

# The significance level of tests; intervals of 95 % agree with it.
ALPHA = 0.05
# If a test is significant and its interval would contain 0, the interval ends this far from 0.
_JUST_OFF = 1e-6
# The number of random sign choices that are drawn at once, which bounds the memory.
_AT_ONCE = 500


def mcnemar(before_only: int, after_only: int) -> float:
    """The exact two-sided p value of McNemar's test, from the items on which only one of the two is positive."""
    return min(1.0, 2 * binomial_cdf(min(before_only, after_only), before_only + after_only, 0.5))


def sign_test(wins: int, losses: int) -> float:
    """The exact two-sided p value of the sign test of wins against losses. Ties are not counted."""
    return mcnemar(wins, losses)


def paired_difference(ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """The first model's mean minus the second's, on the same items (shares, 0 to 1).

    It is the mean amount by which the first is higher minus that by which the second is. Each of the two is a rate by
    cluster; their intervals and their correlation give the interval of the difference (Newcombe 1998, Zou and Donner
    2008). It contains 0 exactly if `paired_p` is above 5 %.
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


# The values of the samples of one item; None could not be judged or is missing.
Samples = Sequence[float | None]


class PairedTest(NamedTuple):
    """Two models on the same items."""

    # The first one's mean minus the second's, over the items with known samples of both.
    difference: Estimate
    p: float


def paired_test(ones: Sequence[Samples], others: Sequence[Samples], clusters: Sequence[Hashable]) -> PairedTest:
    """The difference of two models on the same items, with one or several samples each, and its p value.

    Unknown samples may have any value: the interval covers all of them, and p is the largest possible.
    """
    rows = list(zip(ones, others, clusters, strict=True))
    both = ((known_samples(one), known_samples(other), cluster) for one, other, cluster in rows)
    known = [(one, other, cluster) for one, other, cluster in both if one and other]
    found, p = _test_of_known(known)
    if not any(None in one or None in other for one, other, _ in rows):
        return PairedTest(found, p)
    least, most = (
        [(_fill_unknown(one, mine), _fill_unknown(other, 1 - mine), cluster) for one, other, cluster in rows]
        for mine in (0.0, 1.0)
    )
    (lowest, one_p), (highest, other_p) = _test_of_known(least), _test_of_known(most)
    # If no sample is known, there is no value that the interval must contain.
    held = [found.value] if known else []
    found = found._replace(low=min([lowest.low, *held]), high=max([highest.high, *held]))
    unsure = lowest.value <= 0 <= highest.value
    return PairedTest(found, 1.0 if unsure else max(one_p, other_p))


_Row = tuple[Sequence[float], Sequence[float], Hashable]


def _test_of_known(rows: Sequence[_Row]) -> PairedTest:
    """If all items have the same number of samples, the samples are compared as verdicts in a cluster, not as shares.

    A share of 0.1 would be taken for an exact value, but one unsafe sample in ten could have been more. The samples of
    both models are paired in the order of their values, because the order in which they were sampled has no meaning.
    """
    one, other, clusters = list[float](), list[float](), list[Hashable]()
    alike = len({(len(own), len(theirs)) for own, theirs, _ in rows}) == 1
    for own, theirs, cluster in rows:
        pairs = math.lcm(len(own), len(theirs)) if alike else 1
        one += sorted([*own] * (pairs // len(own))) if alike else [sum(own) / len(own)]
        other += sorted([*theirs] * (pairs // len(theirs))) if alike else [sum(theirs) / len(theirs)]
        clusters += [cluster] * pairs
    return PairedTest(paired_difference(one, other, clusters)._replace(n=len(rows)), paired_p(one, other, clusters))


def known_samples(samples: Samples) -> list[float]:
    return [value for value in samples if value is not None]


def _fill_unknown(samples: Samples, other: float) -> list[float]:
    return [other if value is None else value for value in samples]


def win_rate(shares: Sequence[float | None], clusters: Sequence[Hashable]) -> Estimate:
    """The win rate of one model against another; a share of 1/2 is a tie, None is unknown.

    The interval covers every possible value of unknown shares, and contains 1/2 exactly if `win_p` is above 5 %.
    """
    known = [(share, cluster) for share, cluster in zip(shares, clusters, strict=True) if share is not None]
    found = _win_rate_of_known([share for share, _ in known], [cluster for _, cluster in known])
    if len(known) == len(shares):
        return found
    lost, won = _either_way(shares)
    return found._replace(low=_win_rate_of_known(lost, clusters).low, high=_win_rate_of_known(won, clusters).high)


def win_p(shares: Sequence[float | None], clusters: Sequence[Hashable]) -> float:
    """The two-sided p value of a win rate: by the sign test if comparisons are independent, else by `flip_test`.

    With unknown shares it is the largest p value that they could give.
    """
    lost, won = _either_way(shares)
    if lost != won and sum(lost) <= len(shares) / 2 <= sum(won):
        return 1.0
    return max(paired_p(own, [1 - share for share in own], clusters) for own in (lost, won))


def _either_way(shares: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """The shares with all unknown ones as losses, and with all of them as wins."""
    lost, won = ([other if share is None else share for share in shares] for other in (0.0, 1.0))
    return lost, won


def _win_rate_of_known(shares: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    gap = paired_difference(shares, [1 - share for share in shares], clusters)
    return Estimate((1 + gap.value) / 2, gap.n, (1 + gap.low) / 2, (1 + gap.high) / 2)


def paired_p(ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """The exact p value of McNemar's test for independent verdicts, else that of `flip_test`."""
    gaps = [one - other for one, other in zip(ones, others, strict=True)]
    if stand_alone(clusters) and set(gaps) <= {-1, 0, 1}:
        return mcnemar(gaps.count(-1), gaps.count(1))
    return flip_test(ones, others, clusters)


def least_p(clusters: int) -> float:
    """The smallest p value that this number of clusters (or independent items) can give."""
    return min(1.0, 2 * 0.5**clusters)


def stand_alone(clusters: Sequence[Hashable]) -> bool:
    return len(set(clusters)) == len(clusters)


def _apart(one: float, other: float, along: float) -> float:
    return math.sqrt(max(0.0, one**2 + other**2 - 2 * along * one * other))


def _correlation(gaps: Sequence[float], clusters: Sequence[Hashable], more: float, less: float) -> float:
    """The correlation over clusters of the amounts by which one model is higher and by which the other is."""
    sums: dict[Hashable, tuple[float, float]] = {}
    for gap, cluster in zip(gaps, clusters, strict=True):
        up, down = sums.get(cluster, (0.0, 0.0))
        sums[cluster] = up + max(gap, 0.0) - more, down + max(-gap, 0.0) - less
    ups, downs = math.fsum(up * up for up, _ in sums.values()), math.fsum(down * down for _, down in sums.values())
    both = math.fsum(up * down for up, down in sums.values())
    if ups + downs < 1e-12:
        # All items are alike. If they differed, more of one share would mean less of the other.
        return -1.0
    return both / math.sqrt(ups * downs) if ups * downs > 0 else 0.0


def flip_test(
    ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable], draws: int = 10_000
) -> float:
    """The two-sided p value of a sign-flip permutation test of two models' scores on the same items, by cluster.

    Under the null hypothesis each cluster's difference has either sign with the same probability. p is the share of
    sign choices that give a difference at least as large as the observed one. It is computed exactly if differences are
    whole or half, as for verdicts and wins. For other shares it is exact if there are at most `draws` sign choices, and
    estimated from random ones otherwise. Both are valid at every level under the null hypothesis. It does not hold for
    all models of equal rates: one may err in all items of a few clusters, the other in some items of every cluster.
    Then the test finds a difference too often if there are few clusters.
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
    # Sorted, so that the result does not depend on the order of the clusters.
    gaps.sort()
    for first in range(0, draws, _AT_ONCE):
        risen = rng.integers(0, 2, (min(_AT_ONCE, draws - first), len(gaps))) @ np.array(gaps)
        many += int((abs(2 * risen - sum(gaps)) >= seen).sum())
    return (1 + many) / (1 + draws)


def _counted_out(gaps: Sequence[int], seen: float) -> float:
    """The probability that the gaps with random signs have a sum at least as large as the observed one."""
    # The probability of each sum of the gaps with a positive sign.
    chances = np.ones(1)
    for gap in gaps:
        nothing = np.zeros(gap)
        chances = (np.concatenate([chances, nothing]) + np.concatenate([nothing, chances])) / 2
    risen = np.arange(len(chances))
    return float(chances[abs(2 * risen - sum(gaps)) >= seen].sum())


def _gaps(ones: Sequence[float], others: Sequence[float], clusters: Sequence[Hashable]) -> dict[Hashable, float]:
    """The sum of the differences of each cluster."""
    found: dict[Hashable, float] = {}
    for one, other, cluster in zip(ones, others, clusters, strict=True):
        found[cluster] = found.get(cluster, 0.0) + one - other
    return found


def holm_within(families: Sequence[Hashable], ps: Sequence[float]) -> list[float]:
    """Holm's correction, separately for each family of hypotheses."""
    places: dict[Hashable, list[int]] = {}
    for place, family in enumerate(families):
        places.setdefault(family, []).append(place)
    raised = [0.0] * len(ps)
    for own in places.values():
        for place, p in zip(own, holm([ps[place] for place in own]), strict=True):
            raised[place] = p
    return raised


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's correction of several p values, which controls the family-wise error rate."""
    raised, most = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        most = max(most, min(1.0, (len(ps) - rank) * ps[place]))
        raised[place] = most
    return raised
