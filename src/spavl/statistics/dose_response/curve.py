"""The dose-response curve of a study: rates by size, forms, and what they answer.

Two questions have an answer: how many pairs until a rate is reached, and whether more pairs are still worth their
price. An interval contains those of all forms that may be true (within 4 AIC of the best), so it does not depend on a
choice that the verdicts leave open.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from spavl.statistics.dose_response.draws import rate_draws
from spavl.statistics.dose_response.fit import fit_curves
from spavl.statistics.dose_response.forms import FORMS, Form, Grid, rates_of, sizes_until
from spavl.statistics.dose_response.observations import (
    DoseGroup,
    DoseObservation,
    DoseTable,
    dose_table,
    over_dispersion,
    seed_correlation,
)
from spavl.statistics.dose_response.selection import (
    FARTHEST,
    LEAST_P,
    FittedCurve,
    FormFit,
    fit_forms,
    misfit,
    natural,
    reasons_against_all,
    reasons_against_form,
    supported_forms,
)
from spavl.statistics.estimates import Estimate

DRAWS = 1000
# A change of a rate by one percentage point: what a doubling must bring to be worth it.
WORTH = 0.01
_SIDES = (0.025, 0.975)


class DoseResponse(NamedTuple):
    """The curve of a rate over the number of pairs."""

    table: DoseTable
    rates: dict[int, Estimate]
    """The observed rate at each size; the intervals contain the variation between seeds."""
    over_dispersion: float
    seed_correlation: float
    forms: tuple[FormFit, ...]
    """Every form that could be fitted, the best first."""
    form: str | None
    """The name of the best form, or None if the form is not identified."""
    as_good: tuple[str, ...]
    """Other forms that may be true. If the form is identified, they give its rates beyond the largest size."""
    why_not: tuple[str, ...]
    """Why the form is not identified."""
    parameters: dict[str, Estimate]
    """The parameters of the best form."""
    blocked: tuple[str, ...]
    """Why no question can be answered; empty if some can."""
    notes: tuple[str, ...]
    curves: tuple[FittedCurve, ...]
    """The forms that may be true, the best first: within 4 AIC of it, or constant and not rejected."""

    @property
    def form_words(self) -> str:
        """All forms that may be true, such as "exponential or logistic"; a single name only where one is left."""
        return " or ".join((self.form, *self.as_good)) if self.form else "not identified"

    @property
    def groups(self) -> tuple[DoseGroup, ...]:
        return self.table.groups

    def as_json(self) -> dict[str, Any]:
        """The curve for a JSON file, without its draws."""
        return {
            "rates": {str(size): rate.as_json() for size, rate in self.rates.items()},
            "groups": [group._asdict() for group in self.groups],
            "over_dispersion": self.over_dispersion,
            "seed_correlation": self.seed_correlation,
            "form": self.form_words,
            "best_form": self.forms[0].form,
            "as_good": list(self.as_good),
            "why_not": list(self.why_not),
            "parameters": {name: each.as_json() for name, each in self.parameters.items()},
            "forms": [fit._asdict() for fit in self.forms],
            "notes": list(self.notes),
        }


class PairsUntil(NamedTuple):
    """The number of pairs from which on a rate is reached."""

    rate: float
    status: Literal["reached", "not reached", "not identified"]
    pairs: Estimate
    """Infinite where the rate is not reached by ten times the largest size."""
    why: str


class DoublingEffect(NamedTuple):
    """What twice the largest number of pairs is expected to change."""

    worth_it: Literal["yes", "no", "unclear", "not identified"]
    change: Estimate
    """The rate at twice the largest size, minus the rate at the largest size."""
    why: str


def dose_response(observations: Iterable[DoseObservation], draws: int = DRAWS, seed: int = 0) -> DoseResponse:
    """Fit every form to these verdicts, and draw the bootstrap for the forms that may be true."""
    return fit_dose_response(dose_table(observations), draws, seed)


def fit_dose_response(
    table: DoseTable, draws: int = DRAWS, seed: int = 0, forms: Sequence[Form] = FORMS
) -> DoseResponse:
    """As `dose_response`, of a table, and of these forms only."""
    dispersion = over_dispersion(table)
    drawn = rate_draws(table, draws, seed)
    fitted = fit_forms(table, dispersion, forms)
    fits = tuple(fit for _, _, fit in fitted)
    supported = [(form, best) for form, best, _ in fitted if form.name in supported_forms(fits)]
    curves = tuple(_with_draws(table, form, best, drawn) for form, best in supported)
    blocked = reasons_against_all(fits, table.over)
    why_not = blocked or reasons_against_form(fits, curves, table.over)
    return DoseResponse(
        table=table,
        rates=_observed_rates(table, drawn),
        over_dispersion=dispersion,
        seed_correlation=seed_correlation(table),
        forms=fits,
        form=None if why_not else fits[0].form,
        as_good=tuple(curve.form.name for curve in curves[1:]),
        why_not=tuple(why_not),
        parameters=_parameters(table, curves[0]),
        blocked=tuple(blocked),
        notes=_notes(table),
        curves=curves,
    )


def _with_draws(table: DoseTable, form: Form, best: Grid, drawn: Grid) -> FittedCurve:
    items = table.total_items
    return FittedCurve(form, best, fit_curves(form, table.over, drawn * items, items, start=best).parameters)


def _observed_rates(table: DoseTable, drawn: Grid) -> dict[int, Estimate]:
    rates = table.total_hits / table.total_items
    low, high = np.quantile(drawn, _SIDES, axis=0)
    return {
        int(size): Estimate(float(rate), int(n), float(min(down, rate)), float(max(up, rate)))
        for size, rate, n, down, up in zip(table.over.sizes, rates, table.total_items, low, high, strict=True)
    }


def _parameters(table: DoseTable, curve: FittedCurve) -> dict[str, Estimate]:
    names, n = curve.form.parameters(table.over), int(table.total_items.sum())
    values, draws = natural(curve.form, curve.best), natural(curve.form, curve.draws)
    return {name: _estimate(float(values[k]), draws[:, k], n) for k, name in enumerate(names)}


def _estimate(value: float, draws: Grid, n: int) -> Estimate:
    """The interval of a draw's quantiles. They are draws themselves, for some may be infinite."""
    low, high = np.quantile(draws, _SIDES, method="nearest")
    return Estimate(value, n, float(min(low, value)), float(max(high, value)))


def _notes(table: DoseTable) -> tuple[str, ...]:
    trained = table.over.sizes > 0
    alone = int((table.seeds[trained] < 2).sum())
    if not (table.seeds[trained] > 1).any():
        return ("one seed at each size: no interval contains the variation between training runs",)
    if alone:
        return (f"{alone} sizes have one seed: the variation between training runs is taken from the others",)
    return ()


def pairs_until(response: DoseResponse, rate: float, lower_is_better: bool = True) -> PairsUntil:
    """How many pairs until the rate is at most this (at least, if higher is better)."""
    over, n = response.table.over, int(response.table.total_items.sum())

    def sizes(form: Form, parameters: Grid) -> Grid:
        found = sizes_until(form, parameters, rate, lower_is_better, over)
        return np.where(found > FARTHEST * over.last, np.inf, found)

    parts = [
        _estimate(float(sizes(curve.form, curve.best[None])[0]), sizes(curve.form, curve.draws), n)
        for curve in response.curves
    ]
    pairs = _union(parts)
    why = _reason_against_answer(response, lower=True)
    if why:
        return PairsUntil(rate, "not identified", pairs, why)
    beyond = f"{FARTHEST} times the largest size"
    if math.isfinite(pairs.high):
        return PairsUntil(rate, "reached", pairs, "")
    if math.isinf(pairs.low):
        return PairsUntil(rate, "not reached", pairs, f"not by {beyond}")
    return PairsUntil(rate, "not identified", pairs, f"the interval has no upper end: not surely reached by {beyond}")


def effect_of_doubling(response: DoseResponse, lower_is_better: bool = True, worth: float = WORTH) -> DoublingEffect:
    """The change of the rate from the largest size to twice as many pairs, and whether it is worth it.

    Yes: the interval excludes no improvement, and the improvement is at least `worth`. No: the whole interval is below
    `worth`.
    """
    over, n = response.table.over, int(response.table.total_items.sum())
    ends = np.array([1.0, 2.0]) * over.last
    parts = []
    for curve in response.curves:
        best, draws = (rates_of(curve.form, each, ends, over) for each in (curve.best[None], curve.draws))
        parts.append(_estimate(float(best[0, 1] - best[0, 0]), draws[:, 1] - draws[:, 0], n))
    change = _union(parts)
    why = _reason_against_answer(response, lower=False)
    if why:
        return DoublingEffect("not identified", change, why)
    gain, low, high = (change.value, change.low, change.high)
    if lower_is_better:
        gain, low, high = -change.value, -change.high, -change.low
    if low > 0 and gain >= worth:
        return DoublingEffect("yes", change, "")
    if high < worth:
        return DoublingEffect("no", change, f"the improvement is below {100 * worth:g} percentage points")
    return DoublingEffect("unclear", change, f"the interval contains gains below and above {100 * worth:g} points")


def rates_at(response: DoseResponse, sizes: Iterable[float]) -> tuple[Estimate, ...]:
    """The rate that the best form gives at these sizes, for a figure."""
    over, n, curve = response.table.over, int(response.table.total_items.sum()), response.curves[0]
    at = np.array(list(sizes), dtype=float)
    best, draws = (rates_of(curve.form, each, at, over) for each in (curve.best[None], curve.draws))
    return tuple(_estimate(float(best[0, k]), draws[:, k], n) for k in range(len(at)))


def _reason_against_answer(response: DoseResponse, lower: bool) -> str:
    """Why no form answers, or which parameters of the best one are at an end of their range.

    At the lower end the curve is over before the first size, which only matters to answers from there.
    """
    best = response.forms[0]
    if not response.blocked and best.p < LEAST_P:
        return misfit(best)
    names = (best.at_lower_bound if lower else ()) + best.at_upper_bound
    if response.blocked or not names:
        return "; ".join(response.blocked)
    return f"the sizes do not determine {', '.join(names)} of {best.form}"


def _union(parts: list[Estimate]) -> Estimate:
    """The first value, with the interval that contains all of them."""
    return parts[0]._replace(low=min(part.low for part in parts), high=max(part.high for part in parts))
