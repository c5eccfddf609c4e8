"""Published metrics of benchmarks other than a mean, as pure functions of the marks that their rules give."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from spavl.statistics import Estimate, mean_by_cluster, rate_by_cluster, ratio_of_sums, wilson


class YesNoMetrics(NamedTuple):
    """POPE's metrics. An unreadable answer is not right, and counts as neither yes nor no."""

    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    # How often the model says yes.
    yes_ratio: Estimate
    unread: Estimate


def yes_no(marks: Sequence[float | None], truths: Sequence[str], clusters: Sequence[Hashable]) -> YesNoMetrics:
    """POPE's metrics from marks of `match/yes_no` or `match/pope` and the right answers; yes is the positive class."""
    rows = [
        (mark, truth.casefold() == "yes", cluster) for mark, truth, cluster in zip(marks, truths, clusters, strict=True)
    ]
    said_yes = [(mark is not None and (mark == 1) == truth, truth, cluster) for mark, truth, cluster in rows]
    # The harmonic mean of precision and recall is a rate: a hit counts once for each of them.
    twice = [(said and truth, cluster) for said, truth, cluster in said_yes for _ in range(said + truth)]
    return YesNoMetrics(
        accuracy=_rate((mark == 1, cluster) for mark, _, cluster in rows),
        precision=_rate((truth, cluster) for said, truth, cluster in said_yes if said),
        recall=_rate((said, cluster) for said, truth, cluster in said_yes if truth),
        f1=_rate(twice)._replace(n=sum(said or truth for said, truth, _ in said_yes)),
        yes_ratio=_rate((said, cluster) for said, _, cluster in said_yes),
        unread=_rate((mark is None, cluster) for mark, _, cluster in rows),
    )


def circular(marks: Sequence[float | None], questions: Sequence[Hashable]) -> Estimate:
    """MMBench's strict accuracy: a question counts only if it is answered right in every order of its options."""
    right: dict[Hashable, bool] = {}
    for mark, question in zip(marks, questions, strict=True):
        right[question] = right.get(question, True) and mark == 1
    return wilson(sum(right.values()), len(right))


def above_chance(
    accuracy: Sequence[float], other: Sequence[float], chance: Sequence[float], clusters: Sequence[Hashable]
) -> Estimate:
    """ChEF's robustness (RRM): the share of the accuracy above chance that remains under `other` conditions."""
    return _beside_chance(accuracy, other, chance, clusters, lambda before, after, luck: after - luck)


def gain_above_chance(
    zero_shot: Sequence[float], with_examples: Sequence[float], chance: Sequence[float], clusters: Sequence[Hashable]
) -> Estimate:
    """ChEF's in-context learning (RIAM): accuracy gained by examples, relative to that above chance without them."""
    return _beside_chance(zero_shot, with_examples, chance, clusters, lambda before, after, luck: after - before)


def _beside_chance(
    before: Sequence[float],
    after: Sequence[float],
    chance: Sequence[float],
    clusters: Sequence[Hashable],
    top: Callable[[float, float, float], float],
) -> Estimate:
    """`top` summed, relative to the accuracy above chance before. The interval is computed with two more clusters."""
    rows = list(zip(before, after, chance, strict=True))
    size, luck = len(rows) / len(set(clusters)), math.fsum(chance) / len(rows)
    tops, bottoms = [top(*row) for row in rows], [one - by_chance for one, _, by_chance in rows]
    found = ratio_of_sums(tops, bottoms, clusters)
    more = [(1.0, 0.0, luck), (0.0, 1.0, luck)]
    wide = ratio_of_sums(
        [*tops, *(size * top(*row) for row in more)],
        [*bottoms, *(size * (one - luck) for one, _, _ in more)],
        [*clusters, "one more", "another"],
    )
    return found._replace(low=min(wide.low, found.value), high=max(wide.high, found.value))


def calibration_error(
    confidence: Sequence[float], right: Sequence[float], clusters: Sequence[Hashable], bins: int = 10
) -> Estimate:
    """The expected calibration error over bins with equally many answers, as in ChEF.

    It is the mean of confidence minus correctness over all answers, with the sign of the sum of each answer's bin.
    """
    rows = sorted(zip(confidence, right, clusters, strict=True), key=lambda row: row[0])
    small, more = divmod(len(rows), bins)
    errors, start = list[float](), 0
    for number in range(bins):
        apart = [sure - mark for sure, mark, _ in rows[start : start + small + (number < more)]]
        start += len(apart)
        side = math.copysign(1, math.fsum(apart))
        errors += [side * each for each in apart]
    found = mean_by_cluster(errors, [cluster for _, _, cluster in rows])
    return found._replace(low=max(0.0, found.low))


def match_ratio(marks: Sequence[float | None], clusters: Sequence[Hashable]) -> Estimate:
    """ChEF's instruction following: the share of answers that can be read as one of the options."""
    return _rate((mark is not None, cluster) for mark, cluster in zip(marks, clusters, strict=True))


def _rate(hits: Iterable[tuple[bool, Hashable]]) -> Estimate:
    told = list(hits)
    return rate_by_cluster([hit for hit, _ in told], [cluster for _, cluster in told])
