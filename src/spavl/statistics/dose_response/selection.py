"""Which form of the curve the verdicts support: AIC, and the reasons why none of them is identified.

AIC is deviance / over-dispersion + 2 * parameters. The correction for few groups (AICc) is left out: it is for a
variance that is estimated from the residuals of the fit, and the variance here is the binomial's, times a factor that
the seeds and the clusters of items give.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spavl.statistics.dose_response.fit import fit_curves
from spavl.statistics.dose_response.forms import FORMS, Form, Grid, SizeRange, rates_of
from spavl.statistics.dose_response.observations import DoseTable

FEWEST_SIZES = 4
# A difference in AIC up to which a form may be true as well. It is not 2, the usual rule of thumb: a form with one more
# parameter is 2 behind where it fits exactly as well, so chance alone would decide whether it is named.
SUPPORTED = 4.0
# A form is rejected if its deviance is this improbable.
LEAST_P = 0.01
# How far beyond the largest size a form is compared with others, and an answer is looked for.
FARTHEST = 10


class FormFit(NamedTuple):
    """A form fitted to the observed rates."""

    form: str
    formula: str
    parameters: dict[str, float]
    deviance: float
    freedom: int
    """Distinct sizes above the number of parameters."""
    p: float
    """The probability of at least this deviance if the form is true."""
    aic: float
    weight: float
    """The Akaike weight among the fitted forms."""
    at_lower_bound: tuple[str, ...]
    at_upper_bound: tuple[str, ...]
    """Parameters of the shape at a bound of their range: the sizes do not determine them."""


class FittedCurve(NamedTuple):
    """A form with its parameters as fitted (logarithms of those of the shape), for the data and for every draw."""

    form: Form
    best: Grid
    draws: Grid


def fit_forms(table: DoseTable, dispersion: float, forms: Sequence[Form] = FORMS) -> list[tuple[Form, Grid, FormFit]]:
    """Every form with fewer parameters than there are sizes, the best first."""
    over, hits, items = table.over, table.total_hits, table.total_items
    found = []
    for form in forms:
        freedom = len(over.sizes) - len(form.parameters(over))
        if freedom > 0:
            fitted = fit_curves(form, over, hits[None], items, tried=8)
            found.append((form, fitted.parameters[0], max(float(fitted.deviance[0]), 0.0), freedom))
    aics = [deviance / dispersion + 2 * len(best) for _, best, deviance, _ in found]
    shares = [math.exp(-(aic - min(aics)) / 2) for aic in aics]
    rows = [
        (form, best, _form_fit(form, best, over, (deviance, dispersion, freedom), (aic, share / sum(shares))))
        for (form, best, deviance, freedom), aic, share in zip(found, aics, shares, strict=True)
    ]
    return sorted(rows, key=lambda row: row[2].aic)


def _form_fit(
    form: Form, best: Grid, over: SizeRange, misfit: tuple[float, float, int], comparison: tuple[float, float]
) -> FormFit:
    deviance, dispersion, freedom = misfit
    low, high = form.bounds(over)
    shape = [(2 + place, each.name) for place, each in enumerate(form.shape)]
    return FormFit(
        form=form.name,
        formula=form.formula,
        parameters=dict(zip(form.parameters(over), natural(form, best).tolist(), strict=True)),
        deviance=deviance,
        freedom=freedom,
        p=chi_square_tail(deviance / dispersion, freedom),
        aic=comparison[0],
        weight=comparison[1],
        at_lower_bound=tuple(name for place, name in shape if best[place] <= low[place] + 1e-6),
        at_upper_bound=tuple(name for place, name in shape if best[place] >= high[place] - 1e-6),
    )


def natural(form: Form, parameters: Grid) -> Grid:
    """Parameters as the formula has them: those of the shape were fitted as logarithms."""
    found = np.array(parameters)
    last = 2 + len(form.shape)
    found[..., 2:last] = np.exp(found[..., 2:last])
    return found


def chi_square_tail(value: float, freedom: int) -> float:
    """The probability that a chi-squared variable with so many degrees of freedom exceeds a value."""
    half = value / 2
    if half <= 0:
        return 1.0
    found = math.erfc(math.sqrt(half)) if freedom % 2 else math.exp(-half)
    at = 0.5 if freedom % 2 else 1.0
    while at < freedom / 2:
        found += math.exp(at * math.log(half) - half - math.lgamma(at + 1))
        at += 1
    return min(found, 1.0)


def reasons_against_all(fits: Sequence[FormFit], over: SizeRange) -> list[str]:
    """Why no answer can be taken from any of these forms."""
    sizes, best = len(over.sizes), fits[0]
    if sizes < FEWEST_SIZES:
        return [f"{sizes} distinct sizes; a form needs at least {FEWEST_SIZES}"]
    if max(fit.p for fit in fits) < LEAST_P:
        return [f"no form fits these rates: the best of them, {best.form}, has p = {best.p:.2g}"]
    return []


def misfit(best: FormFit) -> str:
    """That another form fits is no help: by AIC it is no better than one that does not fit."""
    return f"{best.form}, the best form by AIC, does not fit these rates: p = {best.p:.2g}"


def supported_forms(fits: Sequence[FormFit]) -> tuple[str, ...]:
    """The names of the forms that may be true; the constant until it is rejected, but never alone."""
    names = [fit.form for fit in fits if fit.aic <= fits[0].aic + SUPPORTED]
    names += [fit.form for fit in fits if fit.form == "constant" and fit.p >= LEAST_P]
    names += [fit.form for fit in fits if fit.form != "constant"][: int(set(names) == {"constant"})]
    return tuple(fit.form for fit in fits if fit.form in names)


def reasons_against_form(fits: Sequence[FormFit], curves: Sequence[FittedCurve], over: SizeRange) -> list[str]:
    """Why the best form is not known to be the true one. `curves` are the best form and the other supported ones."""
    best, reasons = fits[0], list[str]()
    # Where the rate is constant, the shape of another form is free to follow chance: it is more than 2 AIC better
    # too often. So the constant must be rejected as well.
    constant = next((fit for fit in fits if fit.form == "constant"), None)
    if constant and (constant.aic <= best.aic + SUPPORTED or constant.p >= LEAST_P):
        reasons.append("no change with size is shown: a constant rate fits as well")
    if best.p < LEAST_P:
        reasons.append(misfit(best))
    reasons += [
        f"the sizes do not determine {name} of {best.form}: it is at the end of its range"
        for name in best.at_lower_bound + best.at_upper_bound
    ]
    reasons += [
        f"{rival.form.name} fits as well (AIC within {SUPPORTED:g}) and gives other rates beyond {over.last:,.0f} pairs"
        for rival in curves[1:]
        if rival.form.shape and _differ_beyond(curves[0], rival, over)
    ]
    return reasons


def _differ_beyond(best: FittedCurve, rival: FittedCurve, over: SizeRange) -> bool:
    """Whether the rival's rate is outside the best form's 95 % interval at twice or at ten times the last size."""
    sizes = np.array([2.0, FARTHEST]) * over.last
    low, high = np.quantile(rates_of(best.form, best.draws, sizes, over), (0.025, 0.975), axis=0)
    rates = rates_of(rival.form, rival.best[None], sizes, over)[0]
    return bool(((rates < low) | (rates > high)).any())
