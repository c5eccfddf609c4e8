"""Curves of a study over the number of pairs: which form a rate follows, and what that answers."""

from collections.abc import Iterator, Sequence

from spavl.report.formatting import about, count, points
from spavl.statistics.dose_response.curve import (
    DoseResponse,
    dose_response,
    effect_of_doubling,
    pairs_until,
    rates_at,
)
from spavl.statistics.dose_response.observations import DoseObservation
from spavl.statistics.dose_response.selection import FEWEST_SIZES
from spavl.studies.grid.axes import SIZE
from spavl.studies.measured import MeasuredCell
from spavl.studies.results import CurveForm, PairsNeeded, RateName, ScaleCurve, SizeRate

# Rates for which it is said how many pairs they need.
_GOALS = {"unsafe": (0.5, 0.2, 0.1, 0.05, 0.01)}
_IS_LOWER_BETTER = {"unsafe": True, "over_refusal": True, "names_object": False}
# The fitted curve is drawn through so many sizes.
_POINTS = 24


def scale_curves(measured: Sequence[MeasuredCell]) -> Iterator[ScaleCurve]:
    """A curve for each model and each combination of the other axes, and each rate."""
    done = [each for each in measured if each.result.state == "done"]
    for model in dict.fromkeys(each.cell.arm.model for each in done):
        own = [each for each in done if each.cell.arm.model == model]
        base = [each for each in own if each.cell.config.training is None]
        trained = [each for each in own if SIZE in each.cell.arm.levels]
        for series in dict.fromkeys(map(series_of, trained)):
            cells = [*base, *(each for each in trained if series_of(each) == series)]
            for name in dict.fromkeys(name for each in cells for name in each.values):
                if name.metric in _IS_LOWER_BETTER:
                    yield _curve(series, name, cells)


def series_of(measured: MeasuredCell) -> str:
    """The arm's name without its number of pairs."""
    arm = measured.cell.arm
    name = arm.name.replace(f"{arm.levels[SIZE]:,} pairs", "").strip()
    return name or "trained"


def _curve(series: str, name: RateName, cells: Sequence[MeasuredCell]) -> ScaleCurve:
    response = dose_response(_observations(name, cells))
    is_lower_better = _IS_LOWER_BETTER[name.metric]
    doubling = effect_of_doubling(response, is_lower_better)
    needed = [pairs_until(response, goal) for goal in _GOALS.get(name.metric, ())]
    line = _sizes_of_line(response)
    return ScaleCurve(
        series=series,
        name=name,
        form=response.form_words,
        why_not=response.why_not,
        what_helps="" if response.form else _what_helps(response),
        may_be=() if response.form or response.blocked else (response.forms[0].form, *response.as_good),
        forms=tuple(
            CurveForm(fit.form, fit.formula, fit.deviance, fit.freedom, fit.aic, fit.weight) for fit in response.forms
        ),
        rates=tuple(SizeRate(size, rate) for size, rate in sorted(response.rates.items())),
        line=tuple(SizeRate(size, rate) for size, rate in zip(line, rates_at(response, line), strict=True)),
        needed=tuple(
            PairsNeeded(each.rate, each.status, None if each.status == "not identified" else each.pairs, each.why)
            for each in needed
        ),
        is_more_worth_it=doubling.worth_it,
        doubling=None if doubling.worth_it == "not identified" else doubling.change,
        why_unsure=doubling.why,
        notes=response.notes,
    )


def _observations(name: RateName, cells: Sequence[MeasuredCell]) -> Iterator[DoseObservation]:
    for each in cells:
        for item, own in each.values.get(name, {}).items():
            yield DoseObservation(each.result.pairs, each.cell.config.seed, item, own.cluster, own.value >= 0.5)


def _what_helps(response: DoseResponse) -> str:
    """What would identify the form."""
    trained = [group for group in response.groups if group.size]
    if len(response.rates) < FEWEST_SIZES:
        found = f"at least {FEWEST_SIZES} sizes, of which the untrained model's 0 is one"
    else:
        found = "more sizes and more test questions"
    return found + (", and several seeds" if len({group.seed for group in trained}) < 2 else "")


def _sizes_of_line(response: DoseResponse) -> list[int]:
    """No sizes if the form is not identified, for a line would be read as a result."""
    sizes = [size for size in response.rates if size]
    if not sizes or not response.form:
        return []
    step = (max(sizes) / min(sizes)) ** (1 / (_POINTS - 1))
    return sorted({round(min(sizes) * step**place) for place in range(_POINTS)})


def curve_sentences(curve: ScaleCurve) -> Iterator[str]:
    """What the curve of the unsafe rate answers; nothing for other rates."""
    if curve.name.metric != "unsafe":
        return
    what = f"{curve.name.benchmark}, {curve.series}"
    if curve.form == "not identified":
        yield (
            f"{what}: the form of the curve is not identified: {'; '.join(curve.why_not)}. What would help: "
            f"{curve.what_helps}."
        )
    else:
        yield f"{what}: the unsafe rate follows the form {curve.form}."
    needed = [
        f"{about(need.rate)} with {count(need.pairs.value)} ({count(need.pairs.low)} to {count(need.pairs.high)})"
        for need in curve.needed
        if need.status == "reached" and need.pairs
    ]
    if needed:
        by = " by every form that may be true" if curve.may_be else ""
        yield f"{what}: pairs until the unsafe rate is reached{by}: {', '.join(needed)}."
    told = f"twice the pairs: {points(curve.doubling.value)} points" if curve.doubling else curve.why_unsure
    yield f"{what}: is more data still worth it? {curve.is_more_worth_it} ({told})."
