"""The area under the ROC curve: how often a score ranks a positive item above a negative one."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import reach95
from spavl.statistics.rates import wilson_bounds

_Vector = NDArray[np.float64]


def auc_by_cluster(
    scores: Sequence[float],
    labels: Sequence[bool],
    clusters: Sequence[Hashable],
    strata: Sequence[Hashable] | None = None,
) -> Estimate:
    """The AUC over all comparisons of a positive with a negative item of the same stratum; a tie counts half.

    Items are compared within strata only if their scores come from different classifiers, as in cross-validation. The
    interval is DeLong's for clusters: the influence of each is that of leaving it out (jackknife), since the few
    clusters that hold a label pull the AUC towards themselves. It has Student's t for the number of clusters, and
    Wilson's form, which stays between 0 and 1.
    """
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    n, pulls = len(values), np.zeros(len(values))
    own, sizes = _group_places(strata if strata is not None else [0] * n), list[tuple[int, int]]()
    wins = 0.0
    for places in own:
        ones, others = places[positive[places]], places[~positive[places]]
        sizes.append((len(ones), len(others)))
        pulls[ones] = _number_below(values[ones], values[others])
        pulls[others] = len(ones) - _number_below(values[others], values[ones])
        wins += float(pulls[ones].sum())
    compared = sum(one * other for one, other in sizes)
    if not compared:
        return Estimate(math.nan, n, 0.0, 1.0)
    auc = wins / compared
    for places, (one, other) in zip(own, sizes, strict=True):
        pulls[places] -= auc * np.where(positive[places], other, one)
    groups = _group_places(clusters)
    k = len(groups)
    if k == 1:
        return Estimate(auc, n, 0.0, 1.0)
    sums = np.array([_pull_if_left_out(pulls, positive, places) for places in groups])
    variance = (k - 1) / k * float(sums @ sums) / compared**2
    if variance <= 1e-18:
        # Nothing varies, so each cluster with the rarer label counts once.
        rarer = min(len({c for c, is_one in zip(clusters, labels, strict=True) if is_one == one}) for one in (0, 1))
        return Estimate(auc, n, *wilson_bounds(auc, rarer))
    low, high = wilson_bounds(auc, auc * (1 - auc) / variance, reach95(k))
    return Estimate(auc, n, min(low, auc), max(high, auc))


def _pull_if_left_out(pulls: _Vector, positive: NDArray[np.bool_], places: NDArray[np.intp]) -> float:
    """How far the AUC moves if these items are left out: more than they pull, since fewer of their label remain."""
    total = 0.0
    for own, every in ((positive[places], positive), (~positive[places], ~positive)):
        left = every.sum() - own.sum()
        # Without the last item of a label there is no AUC; the rest then counts as one item.
        total += float(pulls[places[own]].sum()) * every.sum() / max(1, left)
    return total


def _number_below(values: _Vector, others: _Vector) -> _Vector:
    """For each value, how many of the others are below it; an equal one counts half."""
    rising = np.sort(others)
    return (np.searchsorted(rising, values, "left") + np.searchsorted(rising, values, "right")) / 2


def _group_places(names: Sequence[Hashable]) -> list[NDArray[np.intp]]:
    places: dict[Hashable, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return [np.array(group, dtype=np.intp) for group in places.values()]
