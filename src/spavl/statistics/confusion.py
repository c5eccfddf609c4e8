"""One judge against another, or against the truth, and the rate that remains when its errors are taken out."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from spavl.statistics.estimates import Z95, Estimate
from spavl.statistics.laws import solve
from spavl.statistics.rates import wilson, wilson_bounds

_Seen = tuple[float, float]


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


class Errors(Protocol):
    """How often a judge is right of what is true and of what is not, and how sure that is."""

    @property
    def sensitivity(self) -> Estimate: ...

    @property
    def specificity(self) -> Estimate: ...


class Corrected(NamedTuple):
    """A judge's rate as it said it, its errors as they were measured, and the rate without them.

    `corrected` is None where that cannot be told; `why_not` says why.
    """

    raw: Estimate
    sensitivity: Estimate
    specificity: Estimate
    corrected: Estimate | None
    why_not: str = ""


def corrected_rate(raw: Estimate, judge: Errors) -> Corrected:
    """The true rate behind a judge's, from its errors on answers whose truth is known (Rogan and Gladen 1978).

    The interval carries the uncertainty of the judge's errors with that of the rate (Lee et al. 2025,
    arXiv 2511.21140); where the interval of any of them is wider than that of as many items that stand alone,
    it stays as much wider. The answers of known truth must be like those judged: of the same models, under the
    same attacks.
    """
    found = Corrected(raw, judge.sensitivity, judge.specificity, None)
    if not raw.n:
        return found._replace(why_not="no answer could be judged")
    if not found.sensitivity.n or not found.specificity.n:
        kind = "positive" if not found.sensitivity.n else "negative"
        return found._replace(why_not=f"the judge was tried on no truly {kind} answer")
    grip = found.sensitivity.value + found.specificity.value - 1
    if grip <= 0:
        why = f"sensitivity and specificity sum to {grip + 1:.2f}: the judge tells no more than a coin"
        return found._replace(why_not=why)
    value = min(1.0, max(0.0, (raw.value + found.specificity.value - 1) / grip))
    low, high = _lee_bounds(*((each.value, _as_many_alone(each)) for each in found[:3]))
    return found._replace(corrected=Estimate(value, raw.n, min(low, value), max(high, value)))


def _as_many_alone(raw: Estimate) -> float:
    """How many items that stand alone would have an interval as wide."""
    width = raw.high - raw.low

    def narrower(n: float) -> float:
        low, high = wilson_bounds(raw.value, n)
        return width - (high - low)

    return float(raw.n) if narrower(raw.n) <= 0 else solve(narrower, 1e-3, raw.n)


def _lee_bounds(raw: _Seen, caught: _Seen, cleared: _Seen) -> tuple[float, float]:
    """From the rate, the sensitivity and the specificity, each with how many items it rests on."""
    z2 = Z95**2
    (rate, n), (sensitivity, harmful), (specificity, harmless) = raw, caught, cleared
    rate, n = (n * rate + z2 / 2) / (n + z2), n + z2
    sensitivity, harmful = (harmful * sensitivity + 1) / (harmful + 2), harmful + 2
    specificity, harmless = (harmless * specificity + 1) / (harmless + 2), harmless + 2
    grip = sensitivity + specificity - 1
    # Very few trials of a judge that barely beats a coin: anything may be true.
    if grip <= 0:
        return 0.0, 1.0
    true = (rate + specificity - 1) / grip
    missed = sensitivity * (1 - sensitivity) / harmful
    invented = specificity * (1 - specificity) / harmless
    moved = true + 2 * z2 * (true * missed - (1 - true) * invented)
    reach = Z95 * math.sqrt(rate * (1 - rate) / n + (1 - true) ** 2 * invented + true**2 * missed) / grip
    return min(1.0, max(0.0, moved - reach)), min(1.0, max(0.0, moved + reach))
