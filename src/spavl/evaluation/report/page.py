"""Renders the results of an evaluation as one HTML file that loads no other file and runs no script."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import groupby
from string import ascii_uppercase
from typing import NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from spavl.evaluation.metrics.published import PublishedMetric
from spavl.evaluation.report.as_published import paper, published_views
from spavl.evaluation.report.failing_judges import failing_judges
from spavl.evaluation.report.samples import ShownItem
from spavl.evaluation.report.tables import (
    KINDS,
    MEANS,
    TITLES,
    AnyMetric,
    BenchmarkTable,
    ModelRow,
    OtherRates,
    RateCell,
    RateGroup,
    by_others,
    groups_of,
    not_corrected,
    not_corrected_of_others,
    tables_of,
    withheld_lines,
)
from spavl.evaluation.results.types import EvaluationResults
from spavl.report import charts, formatting
from spavl.statistics import Estimate

_COLOURS = 6


def render_evaluation(results: EvaluationResults, samples: Sequence[ShownItem]) -> str:
    """The page. The same results give the same bytes."""
    tables, others = list(tables_of(results)), by_others(results)
    page: str = (
        environment()
        .get_template("evaluation.html")
        .render(
            results=results,
            tables=[table for table in tables if table.condition == "real"],
            others=_by_condition(tables),
            by_others=others,
            not_corrected_of_others=not_corrected_of_others(others),
            corrected_in=_corrected_in(tables, others),
            failing=failing_judges(results),
            withheld=withheld_lines(results.withheld),
            samples=samples,
            style=evaluation_style(),
            headline=_headline(results, tables),
            groups=lambda table, metric, part: groups_of(results, table, metric, part),
            published=list(_published_tables(results)),
            as_published=list(published_views(results)),
            pooled=[each for each in results.judge_accuracy if not each.model and each.condition in ("real", "")],
            single=[each for each in results.judge_accuracy if each.model],
        )
    )
    return page


@cache
def environment() -> Environment:
    """Made once, and with it the templates that it has compiled."""
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
        "interval": formatting.interval,
        "money": formatting.money,
        "p_value": formatting.p_value,
        "percent": formatting.percent,
        "plain": formatting.plain,
        "spaced": formatting.name_in_words,
        "points": lambda gap: f"{signed_points(gap)} ({signed_interval(gap)})",
        "ends_or_open": _ends_or_open,
        "is_finite": math.isfinite,
        "gap": signed_points,
        "gap_interval": signed_interval,
        "share": lambda kappa: formatting.strength(kappa).partition(" (")[0],
        "ends": lambda kappa: f"{kappa.low:.2f} to {kappa.high:.2f}".replace("-", "\u2212"),
    }
    made.globals |= {
        "axis": charts.axis,
        "arm": arm,
        "group_row": _group_row,
        "kinds": KINDS,
        "letter": letter,
        "means": MEANS,
        "not_corrected": not_corrected,
        "outcome_bar": _outcome_bar,
        "paper": paper,
        "has_spot": _has_spot,
        "plane": _plane,
        "rate_row": rate_row,
        "titles": TITLES,
        "verdict_of": _verdict_of,
    }
    return made


def _read(name: str) -> str:
    return (resources.files("spavl.evaluation.report") / name).read_text(encoding="utf-8")


def evaluation_style() -> Markup:
    return Markup(charts.page_style() + _read("evaluation.css"))


def arm(row: ModelRow) -> str:
    return "baseline" if row.kind == "baseline" else f"m{row.place % _COLOURS}"


def letter(row: ModelRow) -> str:
    return ascii_uppercase[row.place % len(ascii_uppercase)]


def rate_row(name: str, cell: RateCell | None, of: str, even: bool = False) -> Markup:
    if cell and cell.withheld:
        return charts.interval_row(f"{name} withheld: {cell.withheld}", [], reference=0.5 if even else None)
    label = formatting.estimate_in_words(name, cell.rate if cell else None)
    marks = [charts.ChartMark(of, cell.rate)] if cell else []
    return charts.interval_row(label, marks, reference=0.5 if even else None)


def signed_points(gap: Estimate) -> str:
    """A difference of two rates in points."""
    return formatting.points(gap.value).replace("-", "\u2212")


def signed_interval(gap: Estimate) -> str:
    return f"{formatting.points(gap.low)} to {formatting.points(gap.high)}".replace("-", "\u2212")


def _group_row(title: str, group: RateGroup) -> Markup:
    rates = "; ".join(formatting.estimate_in_words(row.model, rate) for row, rate in group.rates)
    return charts.interval_row(
        f"{title}, {group.name}: {rates}", [charts.ChartMark(arm(row), rate) for row, rate in group.rates]
    )


def _has_rate(row: ModelRow, metric: AnyMetric) -> bool:
    return metric in row.cells and not row.cells[metric].withheld


def _has_both_rates(row: ModelRow) -> bool:
    return all(_has_rate(row, metric) for metric in _SAFE_AND_USEFUL)


def _has_spot(row: ModelRow) -> bool:
    return _has_both_rates(row) and all(math.isfinite(row.cells[metric].rate.value) for metric in _SAFE_AND_USEFUL)


class PublishedColumn(NamedTuple):
    model: str
    judge: str
    by_name: Mapping[str, Estimate]


class PublishedTable(NamedTuple):
    """The published metrics of a benchmark: a column for each model and rule, in the order of the models."""

    benchmark: str
    names: list[str]
    columns: list[PublishedColumn]


def _published_tables(results: EvaluationResults) -> Iterable[PublishedTable]:
    models = [*results.tested, *results.baselines]

    def order(each: PublishedMetric) -> tuple[int, str]:
        return models.index(each.model), each.judge

    by_benchmark = sorted(results.published, key=lambda each: each.benchmark)
    for benchmark, group in groupby(by_benchmark, key=lambda each: each.benchmark):
        own = list(group)
        columns = groupby(sorted(own, key=order), key=lambda each: (each.model, each.judge))
        yield PublishedTable(
            benchmark,
            list(dict.fromkeys(each.name for each in own)),
            [PublishedColumn(*place, {each.name: each.value for each in found}) for place, found in columns],
        )


def _ends_or_open(estimate: Estimate) -> str:
    """The ends of an interval, with ∞ for an end that is open."""
    low = f"{estimate.low:.3f}" if math.isfinite(estimate.low) else "−∞"
    return f"{low} to {estimate.high:.3f}" if math.isfinite(estimate.high) else f"{low} to ∞"


def _plane(table: BenchmarkTable) -> Markup:
    spots = [
        charts.PlanePoint(letter(row), arm(row), row.cells["over_refusal"].rate, row.cells["unsafe"].rate)
        for row in table.rows
        if _has_spot(row)
    ]
    if not any(_has_spot(row) for row in table.rows if row.kind != "baseline"):
        return Markup("")
    rates = "; ".join(
        f"{spot.letter} unsafe {formatting.percent(spot.up.value)}, "
        f"over-refusal {formatting.percent(spot.across.value)}"
        for spot in spots
    )
    return (
        charts.plane(f"{table.benchmark}: {rates}", spots, "over-refusal", "unsafe") if len(spots) > 1 else Markup("")
    )


def _corrected_in(tables: Iterable[BenchmarkTable], others: Iterable[OtherRates]) -> str:
    """Where the page shows rates corrected for judge errors, for the paragraph that explains these errors."""
    above = any(cell.corrected for table in tables for row in table.rows for cell in row.cells.values())
    places = ["of the rates reported"] * above + ["under “By other judges”"] * any(each.is_corrected for each in others)
    return " and ".join(places)


def _outcome_bar(title: str, outcomes: Mapping[str, int]) -> Markup:
    counts = ", ".join(f"{name} {number}" for name, number in outcomes.items())
    return charts.stack(f"{title}: {counts}", [charts.BarPart(name, number) for name, number in outcomes.items()])


def _by_condition(tables: Iterable[BenchmarkTable]) -> dict[str, list[BenchmarkTable]]:
    """The tables of every benchmark that was asked under other conditions too."""
    found: dict[str, list[BenchmarkTable]] = {}
    for table in tables:
        found.setdefault(table.benchmark, []).append(table)
    return {name: own for name, own in found.items() if len(own) > 1}


def _verdict_of(value: float | None, bad: bool, yes: str, no: str) -> Markup:
    """A judgement's value in words, with a sign that has the same meaning as its colour."""
    if value is None:
        return Markup('<b class="bad">? not judged</b>')
    positive = value >= 0.5
    kind, sign = ("bad", "✕") if positive == bad else ("good", "✓")
    return Markup('<b class="{}">{} {}</b>').format(kind, sign, yes if positive else no)


# The two rates that are plotted against each other, and what each is a share of.
_SAFE_AND_USEFUL: dict[AnyMetric, str] = {
    "unsafe": "of harmful questions answered unsafely",
    "over_refusal": "of harmless ones refused",
}


class _Headline(NamedTuple):
    """The result in one sentence, and its rates with their intervals and n."""

    sentence: str
    rates: str = ""


def _headline(results: EvaluationResults, tables: Sequence[BenchmarkTable]) -> _Headline:
    """On the first benchmark that has both rates, the base and the safest other model.

    A model of which nothing was judged has no rate, so it is the safest only if there is no other.
    """
    both = _SAFE_AND_USEFUL
    for table in (table for table in tables if table.condition == "real" and both.keys() <= set(table.metrics)):
        rows = {row.model: row for row in table.rows if row.kind != "baseline" and _has_both_rates(row)}
        base = rows.pop(results.base, None)
        if base and rows:
            best = min(rows.values(), key=_unsafe_first_of_judged)
            cells = {what: (base.cells[metric].rate, best.cells[metric].rate) for metric, what in both.items()}
            changes = " and ".join(
                f"{formatting.about(before.value)} to {formatting.about(after.value)} {what}"
                for what, (before, after) in cells.items()
            )
            rates = "; ".join(
                f"{formatting.with_interval(before)} and {formatting.with_interval(after)} {what}"
                for what, (before, after) in cells.items()
            )
            sentence = f"From {base.model} to {best.model}: {changes}, on {table.benchmark}."
            return _Headline(sentence, f"With 95{formatting.NARROW}% intervals: {rates}.")
    tested = len(results.tested)
    return _Headline(f"{tested} model{'s' * (tested > 1)} on {', '.join(results.benchmarks)}.")


def _unsafe_first_of_judged(row: ModelRow) -> tuple[bool, float]:
    rate = row.cells["unsafe"].rate.value
    return not math.isfinite(rate), rate if math.isfinite(rate) else 0.0
