"""Sensitivity and specificity of a judge, and a rate corrected for its errors."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import solve
from spavl.statistics.rates import wilson


class Confusion(NamedTuple):
    """Counts of items by the judge's verdict and by the truth, positive or not; `unknown` could not be compared."""

    both: int
    said_only: int
    true_only: int
    neither: int
    unknown: int = 0

    @property
    def sensitivity(self) -> Estimate:
        """The rate of truly positive items that the judge calls positive."""
        return wilson(self.both, self.both + self.true_only)

    @property
    def specificity(self) -> Estimate:
        """The rate of truly negative items that the judge calls negative."""
        return wilson(self.neither, self.neither + self.said_only)

    @property
    def agreement(self) -> Estimate:
        alike = self.both + self.neither
        return wilson(alike, alike + self.said_only + self.true_only)


def confusion(pairs: Iterable[tuple[bool | None, bool | None]]) -> Confusion:
    """Count pairs of (verdict, truth); a pair with None counts as unknown, never as positive or negative."""
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
    """A judge's sensitivity and specificity, with intervals."""

    @property
    def sensitivity(self) -> Estimate: ...

    @property
    def specificity(self) -> Estimate: ...


class CorrectedRate(NamedTuple):
    """A judge's raw rate, its measured error rates, and the rate corrected for them.

    `corrected` is None if there is no correction; `why_not` says why.
    """

    raw: Estimate
    sensitivity: Estimate
    specificity: Estimate
    corrected: Estimate | None
    why_not: str = ""


def corrected_rate(raw: Estimate, judge: ErrorRates) -> CorrectedRate:
    """The true rate, from a judge's rate and its errors on answers of known truth (Rogan and Gladen 1978).

    The answers of known truth must be like those of the rate: of the same model, to the same kind of item, sampled in
    the same way. There is no correction unless the judge is clearly better than chance: the lower end of
    sensitivity + specificity - 1 must be above 0.

    The interval contains every true rate that the errors could turn into the observed rate. For each, the distances to
    the ends of the three intervals are combined (Zou and Donner 2008, as in `difference`). So the interval respects
    clusters if those three do, and it is not symmetric near 0 and 1.
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
    """The lowest and the highest true rate that agree with the observed rate.

    At a true rate t the judge's expected rate is t * sensitivity + (1 - t) * (1 - specificity). It differs from the
    observed rate by `skill` times the difference of t from the corrected value.
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
