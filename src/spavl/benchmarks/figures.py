"""Figures that benchmarks are published with, beyond a mean, as pure functions of the marks of their rules."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple


class YesNo(NamedTuple):
    """POPE's figures, of the answers that could be read; `unread` is the share of the others."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    # How often the model says yes.
    yes_ratio: float
    unread: float


def yes_no(marks: Sequence[float | None], truths: Sequence[str]) -> YesNo:
    """Of marks of `match/yes_no` or `match/pope` with the right answers, of which yes is the one looked for."""
    read = [
        (mark == 1, truth.casefold() == "yes") for mark, truth in zip(marks, truths, strict=True) if mark is not None
    ]
    hits = sum(right and truth for right, truth in read)
    false_alarms = sum(not right and not truth for right, truth in read)
    misses = sum(not right and truth for right, truth in read)
    precision, recall = _share(hits, hits + false_alarms), _share(hits, hits + misses)
    return YesNo(
        accuracy=_share(sum(right for right, _ in read), len(read)),
        precision=precision,
        recall=recall,
        f1=_share(2 * hits, 2 * hits + false_alarms + misses),
        yes_ratio=_share(hits + false_alarms, len(read)),
        unread=_share(len(marks) - len(read), len(marks)),
    )


def circular(marks: Sequence[float | None], questions: Sequence[Hashable]) -> float:
    """MMBench's strict accuracy: a question counts only if it is answered right in every order of its options."""
    right: dict[Hashable, bool] = {}
    for mark, question in zip(marks, questions, strict=True):
        right[question] = right.get(question, True) and mark == 1
    return _share(sum(right.values()), len(right))


def above_chance(accuracy: float, other: float, chance: float) -> float:
    """ChEF's robustness (RRM): what is left under `other` conditions of the accuracy that is not by chance."""
    return _share(other - chance, accuracy - chance)


def gain_above_chance(zero_shot: float, with_examples: float, chance: float) -> float:
    """ChEF's in-context learning (RIAM): what examples add, in parts of what is not by chance without them."""
    return _share(with_examples - zero_shot, zero_shot - chance)


def calibration_error(confidence: Sequence[float], right: Sequence[float], bins: int = 10) -> float:
    """The expected calibration error over bins of as many answers each, as ChEF takes it."""
    pairs = sorted(zip(confidence, right, strict=True), key=lambda pair: pair[0])
    small, more = divmod(len(pairs), bins)
    error, start = 0.0, 0
    for number in range(bins):
        own = pairs[start : start + small + (number < more)]
        start += len(own)
        error += abs(math.fsum(sure - mark for sure, mark in own))
    return _share(error, len(pairs))


def match_ratio(marks: Sequence[float | None]) -> float:
    """ChEF's instruction following: how many answers could be read as one of the options that were offered."""
    return _share(sum(mark is not None for mark in marks), len(marks))


def _share(part: float, whole: float) -> float:
    """Not a number where there is nothing to divide by, and where a model is no better than chance."""
    return part / whole if whole > 0 else math.nan
