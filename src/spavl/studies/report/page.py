"""Renders the results of a study as one HTML file that loads no other file and runs no script."""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from itertools import groupby
from typing import NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from spavl.evaluation.report.page import evaluation_style, signed_interval, signed_points
from spavl.evaluation.report.tables import TITLES
from spavl.report import charts, formatting
from spavl.statistics import Estimate
from spavl.studies.report.words import (
    evaluation_in_words,
    guards_in_words,
    models_of,
    pairs_in_words,
    settings_in_words,
)
from spavl.studies.results import ArmDifference, ArmRate, RateName, ScaleCurve, StudyResults

_COLOURS = 6
_LOWER_IS_BETTER = ("unsafe", "over_refusal")


class RateSection(NamedTuple):
    """A rate of a benchmark: a row for each arm, each with its difference from the control, if there is one."""

    name: RateName
    title: str
    rows: Sequence[tuple[ArmRate, str, ArmDifference | None]]


class ArmRow(NamedTuple):
    """A trained arm. Arms below each other with equal settings share a cell: the first one's, over so many rows."""

    arm: str
    model: str
    pairs: str
    settings: str
    span: int


class FrontFigure(NamedTuple):
    benchmark: str
    chart: Markup
    spots: Sequence[charts.PlanePoint]
    names: Sequence[str]


def render_study(results: StudyResults) -> str:
    """The page. The same results give the same bytes."""
    page: str = (
        _environment()
        .get_template("study.html")
        .render(
            results=results,
            style=evaluation_style(),
            sections=list(_sections(results)),
            fronts=list(_fronts(results)),
            curves=[(curve, _curve(curve)) for curve in results.curves],
            by_part=[each for each in results.differences if each.name.part != "all"],
            is_miniature=any("miniature" in cell.model for cell in results.cells),
            several_seeds=results.has_several_seeds,
            models=list(models_of(results)),
            guards=guards_in_words(results),
            common=settings_in_words(results.settings.common),
            evaluation=evaluation_in_words(results),
            arms=list(_arms(results)),
        )
    )
    return page


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        finalize=formatting.harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": formatting.count,
        "duration": formatting.duration,
        "interval": formatting.interval,
        "p_value": formatting.p_value,
        "percent": formatting.percent,
        "plain": formatting.plain,
        "small_p": lambda p: "< 0.001" if p < 0.001 else formatting.p_value(p),
        "spaced": formatting.name_in_words,
        "ends": _ends,
        "gap": signed_points,
        "gap_interval": signed_interval,
    }
    made.globals |= {"axis": charts.axis, "row": _row, "swatch": _swatch}
    return made


def _arms(results: StudyResults) -> Iterator[ArmRow]:
    for own, group in groupby(results.settings.arms, lambda each: settings_in_words(each.settings)):
        rows = list(group)
        for place, each in enumerate(rows):
            yield ArmRow(each.arm, each.model, pairs_in_words(results, each.arm), own, 0 if place else len(rows))


def _read(name: str) -> str:
    return (resources.files("spavl.studies.report") / name).read_text(encoding="utf-8")


def _title(name: RateName) -> str:
    return TITLES.get(name.metric, formatting.name_in_words(name.metric))


def _sections(results: StudyResults) -> Iterator[RateSection]:
    differences = {(each.arm, each.name): each for each in results.differences}
    for name in dict.fromkeys(each.name for each in results.rates):
        rows = [
            (each, _colour(results, each.arm), differences.get((each.arm, name)))
            for each in results.rates
            if each.name == name
        ]
        yield RateSection(name, _title(name), rows)


def _fronts(results: StudyResults) -> Iterator[FrontFigure]:
    """Unsafe rate and over-refusal of every arm in one plane, for each benchmark that has both."""
    rates = {(each.name.benchmark, each.name.metric, each.arm): each.rate for each in results.rates}
    for benchmark in dict.fromkeys(each.name.benchmark for each in results.rates):
        spots, names = list[charts.PlanePoint](), list[str]()
        for arm in results.arms:
            both = [rates.get((benchmark, metric, arm)) for metric in _LOWER_IS_BETTER]
            if both[0] and both[1]:
                letter = letters_of(len(names))
                spots.append(charts.PlanePoint(letter, _colour(results, arm), both[0], both[1]))
                names.append(arm)
        if spots:
            chart = charts.plane(f"{benchmark}: unsafe rate and over-refusal", spots, "unsafe rate", "over-refusal")
            yield FrontFigure(benchmark, chart, spots, names)


def letters_of(place: int) -> str:
    """A to Z, then AA, AB and so on."""
    rest, letter = divmod(place, 26)
    return (letters_of(rest - 1) if rest else "") + chr(ord("A") + letter)


def _curve(curve: ScaleCurve) -> Markup:
    points, line = ([charts.SizePoint(*each) for each in part] for part in (curve.rates, curve.line))
    title = f"{_title(curve.name)} of {curve.series} over the number of pairs, {curve.name.benchmark}"
    return charts.rates_by_size(title, points, line, "m1", "pairs")


def _colour(results: StudyResults, arm: str) -> str:
    trained = {each.arm for each in results.settings.arms}
    return f"m{results.arms.index(arm) % _COLOURS}" if arm in trained else "baseline"


def _ends(pairs: Estimate) -> str:
    """The interval of a number of pairs, whose upper end may be open."""
    return f"{formatting.count(pairs.low)} to {formatting.count(pairs.high)}" if math.isfinite(pairs.high) else "open"


def _row(title: str, rate: Estimate, colour: str) -> Markup:
    return charts.interval_row(formatting.estimate_in_words(title, rate), [charts.ChartMark(colour, rate)])


def _swatch(colour: str, letter: str) -> Markup:
    return Markup(
        '<svg class="swatch" width="18" height="18" aria-hidden="true"><circle class="dot {0}" cx="9" cy="9" '
        'r="8"/><text class="letter {0}" x="9" y="13" text-anchor="middle" font-size="11">{1}</text></svg>'
    ).format(colour, letter)
