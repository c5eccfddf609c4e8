"""Sensitivity and specificity of a judge, and a rate corrected for its errors."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import solve
from spavl.statistics.rates import wilson


class Confusion(NamedTuple):
    """How often what is said and what is true are positive, together and apart; `unknown` could not be compared."""

    both: int
    said_only: int
    true_only: int
    neither: int
    unknown: int = 0

    @property
    def sensitivity(self) -> Estimate:
        """Of what is true, how much was said."""
        return wilson(self.both, self.both + self.true_only)

    @property
    def specificity(self) -> Estimate:
        """Of what is not true, how much was not said."""
        return wilson(self.neither, self.neither + self.said_only)

    @property
    def agreement(self) -> Estimate:
        alike = self.both + self.neither
        return wilson(alike, alike + self.said_only + self.true_only)


def confusion(pairs: Iterable[tuple[bool | None, bool | None]]) -> Confusion:
    """Count pairs of what was said and what is true; None is no verdict, which is never taken for either."""
    counts = dict.fromkeys(((True, True), (True, False), (False, True), (False, False)), 0)
    unknown = 0
    for said, true in pairs:
        if said is None or true is None:
            unknown += 1
        else:
            counts[said, true] += 1
    both, said_only, true_only, neither = counts.values()
    return Confusion(both, said_only, true_only, neither, unknown)


class ErrorRates(Protocol):
    """How often a judge is right of what is true and of what is not, and how sure that is."""

    @property
    def sensitivity(self) -> Estimate: ...

    @property
    def specificity(self) -> Estimate: ...


class CorrectedRate(NamedTuple):
    """A judge's rate as it said it, its errors as they were measured, and the rate without them.

    `corrected` is None where that cannot be told; `why_not` says why.
    """

    raw: Estimate
    sensitivity: Estimate
    specificity: Estimate
    corrected: Estimate | None
    why_not: str = ""


def corrected_rate(raw: Estimate, judge: ErrorRates) -> CorrectedRate:
    """The true rate behind a judge's, from its errors on answers whose truth is known (Rogan and Gladen 1978).

    The answers of known truth must be like those that the rate is about: of the same model, to the same kind of
    item, asked alike. There is no correction unless the judge is surely better than a coin: the lower end of
    sensitivity + specificity - 1 must lie above 0.

    The interval holds every true rate that the errors could turn into the rate that was seen: for each, the three
    distances to the ends of their own intervals are put together (Zou and Donner 2008, as `difference` does), so
    that it is as wide as theirs where items share a cluster, and it is not of symmetric shape near 0 and 1.
    """
    caught, cleared = judge.sensitivity, judge.specificity
    found = CorrectedRate(raw, caught, cleared, None)
    if not raw.n:
        return found._replace(why_not="no answer could be judged")
    if not caught.n or not cleared.n:
        kind = "positive" if not caught.n else "negative"
        return found._replace(why_not=f"the judge was tried on no truly {kind} answer")
    skill = caught.value + cleared.value - 1
    surely = skill - math.hypot(caught.value - caught.low, cleared.value - cleared.low)
    if surely <= 0:
        why = f"sensitivity and specificity sum to {1 + skill:.2f}, and may sum to {1 + surely:.2f}"
        return found._replace(why_not=f"{why}: those of a coin sum to 1.00")
    value = min(1.0, max(0.0, (raw.value + cleared.value - 1) / skill))
    return found._replace(corrected=Estimate(value, raw.n, *_true_bounds(value, skill, found)))


def _true_bounds(value: float, skill: float, seen: CorrectedRate) -> tuple[float, float]:
    """The lowest and the highest true rate with which what was seen agrees.

    At a true rate t the judge should say `positive` at a rate of t * sensitivity + (1 - t) * (1 - specificity).
    Above the corrected value that lies as far above what it said as `skill` times the distance, and below likewise.
    """
    raw, caught, cleared = seen.raw, seen.sensitivity, seen.specificity

    def reach_down(true: float) -> float:
        judged = true * (caught.high - caught.value), (1 - true) * (cleared.value - cleared.low)
        return math.hypot(raw.value - raw.low, *judged)

    def reach_up(true: float) -> float:
        judged = true * (caught.value - caught.low), (1 - true) * (cleared.high - cleared.value)
        return math.hypot(raw.high - raw.value, *judged)

    low, high = 0.0, 1.0
    if skill * value > reach_down(0.0):
        low = solve(lambda true: reach_down(true) - skill * (value - true), 0.0, value)
    if skill * (1 - value) > reach_up(1.0):
        high = solve(lambda true: skill * (true - value) - reach_up(true), value, 1.0)
    return low, high
