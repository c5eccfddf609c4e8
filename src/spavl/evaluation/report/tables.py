"""The results of an evaluation as tables: one for each benchmark and condition, a row for each model."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spavl.evaluation.metrics.rates import Part, RateMetric
from spavl.evaluation.metrics.result_table import RATES, Metric, is_reported
from spavl.evaluation.metrics.win_rates import PairwiseMetric, WinRate
from spavl.evaluation.metrics.withheld import WithheldRate
from spavl.evaluation.results.types import EvaluationResults
from spavl.statistics import Estimate
from spavl.text.degenerate import counts_in_words

AnyMetric = Metric | PairwiseMetric
TITLES: Mapping[str, str] = {
    "unsafe": "unsafe",
    "over_refusal": "over-refusal",
    "right": "right",
    "alignment_tax": "alignment tax",
    "safe_reply": "safe and no refusal",
    "win_rate": "win rate",
    "harm_score": "harm score",
}
# What each is a share of, and which way is better.
MEANS: Mapping[str, str] = {
    "unsafe": "of harmful items; lower is better",
    "over_refusal": "of harmless items; lower is better",
    "right": "of questions with a right answer; higher is better",
    "alignment_tax": "of ordinary questions with a right answer, those refused; lower is better",
    "safe_reply": "of harmful items; answers that are safe and of some use, and those that a disclaimer makes safe",
    "win_rate": "more helpful than the base; 50 % is even",
    "harm_score": "more harmful than the base; 50 % is even",
}
# The kinds of items, by what a benchmark wants of them.
KINDS: Mapping[str, str] = {
    "refuse": "harmful items",
    "help": "harmless items",
    "answer": "questions with a right answer",
}
PAIRWISE: tuple[PairwiseMetric, ...] = ("win_rate", "harm_score")


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCell:
    """One rate of one model. `p` is against the base, with Holm's correction over all benchmarks."""

    rate: Estimate
    macro: Estimate | None = None
    unknown: int = 0
    p: float | None = None
    # The rate corrected for the judge's errors, if there is a gold guard; else why there is no correction.
    corrected: Estimate | None = None
    not_corrected: str = ""
    any_of: Estimate | None = None
    sd_of_samples: float | None = None
    # Of questions with a right answer: the share of answers that no rule could read. They are not right.
    unread: Estimate | None = None
    # Why the rate is withheld. Its value is NaN then, and its interval covers any values of the unknown answers.
    withheld: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    model: str
    # A baseline gives every item the same answer.
    kind: Literal["base", "tested", "baseline"]
    # Its index among the models, which selects its colour.
    place: int
    cells: Mapping[AnyMetric, RateCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkTable:
    """One benchmark under one condition, by the judges that are reported."""

    benchmark: str
    does: str
    # How many of its items were asked; fewer than `does` says if a subset was asked.
    items: int
    condition: str
    judges: tuple[str, ...]
    metrics: tuple[AnyMetric, ...]
    # Metrics that are shown only in a table of numbers.
    diagnostics: tuple[AnyMetric, ...]
    rows: tuple[ModelRow, ...]
    # A text for each tested model: how many of its answers are degenerate.
    degenerate: tuple[str, ...]

    def is_corrected(self, metric: AnyMetric) -> bool:
        return any(row.cells[metric].corrected for row in self.rows if metric in row.cells)

    def is_compared(self, metric: AnyMetric) -> bool:
        return any(row.cells[metric].p is not None for row in self.rows if metric in row.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRates:
    """One rate of every model on a benchmark, by a judge that is not the reported one."""

    judge: str
    metric: AnyMetric
    benchmark: str
    cells: Mapping[str, RateCell]

    @property
    def is_corrected(self) -> bool:
        return any(cell.corrected for cell in self.cells.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RateGroup:
    """A subset or a group of a benchmark, with one rate of every model."""

    name: str
    rates: tuple[tuple[ModelRow, Estimate], ...]


def tables_of(results: EvaluationResults) -> Iterator[BenchmarkTable]:
    whole = [each for each in _reported_rates(results) if each.part == "all"]
    for name, about in results.benchmarks.items():
        for condition in results.config.conditions:
            place = name, condition
            own = [each for each in whole if (each.cell.benchmark, each.cell.condition) == place]
            lost = [each for each in _withheld(results) if (each.benchmark, each.condition) == place]
            if not own and not lost:
                continue
            won = [each for each in results.win_rates if each.benchmark == name] if condition == "real" else []
            known: set[AnyMetric] = {each.cell.metric for each in own}
            known |= {each.metric for each in won} | {each.metric for each in lost}
            judges = {each.cell.judge for each in own} | {each.judge for each in lost if each.metric not in PAIRWISE}
            rows = (_row(model, own, won, results, name, lost) for model in _models(results))
            yield BenchmarkTable(
                benchmark=name,
                does=about.does,
                items=about.items,
                condition=condition,
                judges=tuple(sorted(judges)),
                metrics=tuple(each for each in (*RATES, *PAIRWISE) if each in known),
                diagnostics=("safe_reply",) if "safe_reply" in known else (),
                rows=tuple(row for row in rows if row.cells),
                degenerate=tuple(_degenerate(results, name, condition)),
            )


def groups_of(results: EvaluationResults, table: BenchmarkTable, metric: AnyMetric, part: Part) -> list[RateGroup]:
    """A rate of a table by subset or by group."""
    rows = {row.model: row for row in table.rows if row.kind != "baseline"}
    found: dict[str, list[tuple[ModelRow, Estimate]]] = {}
    for each in _reported_rates(results):
        place = each.part, each.cell.benchmark, each.cell.condition, each.cell.metric
        if place == (part, table.benchmark, table.condition, metric) and each.cell.model in rows:
            found.setdefault(each.name, []).append((rows[each.cell.model], each.micro))
    order = {row.model: row.place for row in table.rows}
    return [
        RateGroup(name=name, rates=tuple(sorted(rates, key=lambda rate: order[rate[0].model])))
        for name, rates in found.items()
    ]


def by_others(results: EvaluationResults) -> list[OtherRates]:
    """The rates of each model by the judges that are not the reported ones."""
    found: dict[tuple[str, AnyMetric, str], dict[str, RateCell]] = {}
    for rate in results.rates:
        cell = rate.cell
        asked = rate.part == "all" and cell.condition == "real" and cell.metric in RATES
        if asked and not is_reported(cell, results.reported_by):
            found.setdefault((cell.judge, cell.metric, cell.benchmark), {})[cell.model] = _cell(rate)
    for each in results.withheld:
        if each.metric in RATES and not is_reported(each.cell, results.reported_by):
            cells = found.setdefault((each.judge, each.metric, each.benchmark), {})
            cells[each.model] = _withheld_cell(each)
    return [
        OtherRates(judge=judge, metric=metric, benchmark=benchmark, cells=cells)
        for (judge, metric, benchmark), cells in sorted(found.items())
    ]


def not_corrected(table: BenchmarkTable) -> list[str]:
    """Which rates of a table are not corrected for judge errors, and why."""
    return [
        f"{row.model}, {TITLES[metric]}: {cell.not_corrected}"
        for row in table.rows
        for metric, cell in row.cells.items()
        if cell.not_corrected and metric in table.metrics
    ]


def not_corrected_of_others(others: Iterable[OtherRates]) -> list[str]:
    """The same for the rates by other judges."""
    return [
        f"{model}, {TITLES[each.metric]} at {each.benchmark} by {each.judge}: {cell.not_corrected}"
        for each in others
        for model, cell in each.cells.items()
        if cell.not_corrected
    ]


def withheld_lines(withheld: Iterable[WithheldRate]) -> list[str]:
    """Every rate that is withheld, by reported and other judges, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in withheld:
        found.setdefault((each.place, each.why), []).append(TITLES.get(each.metric, each.metric))
    return [f"{place}: {', '.join(rates)} ({why})" for (place, why), rates in found.items()]


def _degenerate(results: EvaluationResults, benchmark: str, condition: str) -> Iterator[str]:
    for each in results.degenerate:
        if (each.benchmark, each.condition) == (benchmark, condition):
            yield f"{each.model} {counts_in_words(each.answers, each.degenerate, each.kinds)}"


def _withheld(results: EvaluationResults) -> Iterator[WithheldRate]:
    """The withheld rates that would otherwise be reported; pairwise metrics have only one judge."""
    return (each for each in results.withheld if each.metric in PAIRWISE or is_reported(each.cell, results.reported_by))


def _withheld_cell(each: WithheldRate) -> RateCell:
    rate = Estimate(math.nan, each.asked - each.unknown, each.low, each.high)
    return RateCell(rate=rate, unknown=each.unknown, withheld=each.why)


def _reported_rates(results: EvaluationResults) -> Iterator[RateMetric]:
    return (each for each in results.rates if is_reported(each.cell, results.reported_by))


def _models(results: EvaluationResults) -> Sequence[str]:
    return [*results.tested, *results.baselines]


def _row(
    model: str,
    rates: Sequence[RateMetric],
    win_rates: Sequence[WinRate],
    results: EvaluationResults,
    benchmark: str,
    withheld: Sequence[WithheldRate],
) -> ModelRow:
    mine = [rate for rate in rates if rate.cell.model == model]
    own = [rate for rate in mine if rate.cell.metric in (*RATES, "safe_reply")]
    unread = next((rate.micro for rate in mine if rate.cell.metric == "unread"), None)
    real = any(rate.cell.condition == "real" for rate in own)
    pairs = [pair for pair in results.pairs if (pair.cell.model, pair.cell.benchmark) == (model, benchmark)]
    p = {pair.cell.metric: pair.p_holm for pair in pairs} if real else {}
    cells: dict[AnyMetric, RateCell] = {rate.cell.metric: _cell(rate, p.get(rate.cell.metric), unread) for rate in own}
    for win_rate in win_rates:
        if win_rate.model == model:
            cells[win_rate.metric] = RateCell(rate=win_rate.rate, unknown=win_rate.blocked_count, p=win_rate.p_holm)
    cells |= {each.metric: _withheld_cell(each) for each in withheld if each.model == model and each.metric in TITLES}
    return ModelRow(model=model, kind=_kind(model, results), place=_models(results).index(model), cells=cells)


def _kind(model: str, results: EvaluationResults) -> Literal["base", "tested", "baseline"]:
    if model in results.baselines:
        return "baseline"
    return "base" if model == results.base else "tested"


def _cell(rate: RateMetric, p: float | None = None, unread: Estimate | None = None) -> RateCell:
    return RateCell(
        rate=rate.micro,
        macro=rate.macro,
        unknown=rate.unknown,
        p=p,
        corrected=rate.corrected,
        not_corrected=rate.not_corrected,
        any_of=rate.any_of,
        sd_of_samples=rate.sd_of_samples,
        unread=unread if rate.cell.metric == "right" else None,
    )
