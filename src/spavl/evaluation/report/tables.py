"""results.json as tables: one for each benchmark and condition, a row for each model."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spavl.report.estimates import estimate
from spavl.statistics import Estimate
from spavl.text.degenerate import told

TITLES = {
    "unsafe": "unsafe",
    "over_refusal": "over-refusal",
    "right": "right",
    "alignment_tax": "alignment tax",
    "safe_reply": "safe and no refusal",
    "win_rate": "win rate",
    "harm_score": "harm score",
}
# What each is a share of, and which way is better.
MEANS = {
    "unsafe": "of harmful items; lower is better",
    "over_refusal": "of harmless items; lower is better",
    "right": "of questions with a right answer; higher is better",
    "alignment_tax": "of ordinary questions with a right answer, those refused; lower is better",
    "safe_reply": "of harmful items; answers that are safe and of some use, and those that a disclaimer makes safe",
    "win_rate": "more helpful than the base; 50 % is even",
    "harm_score": "more harmful than the base; 50 % is even",
}
# What a benchmark wants of an item.
KINDS = {"refuse": "harmful items", "help": "harmless items", "answer": "questions with a right answer"}
_RATES = ("unsafe", "over_refusal", "right", "alignment_tax")
_OF_COMPARISONS = ("win_rate", "harm_score")


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCell:
    """One rate of one model. `p` is against the base, over all benchmarks at once."""

    rate: Estimate
    macro: Estimate | None = None
    unknown: int = 0
    p: float | None = None
    # The rate without the judge's errors, where the truth is known; else why there is none.
    corrected: Estimate | None = None
    not_corrected: str = ""
    any_of: Estimate | None = None
    sd_of_samples: float | None = None
    # Of answers to questions with a right answer: how many no rule could read. They are not right.
    unread: Estimate | None = None
    # Why the rate is not told; its value is no number then, and its interval holds whatever is not known.
    withheld: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    model: str
    # base, tested, or always: one that always says the same.
    kind: str
    # Its place among the tested models, by which it has its colour.
    place: int
    cells: Mapping[str, RateCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkTable:
    """One benchmark under one condition, by the judges whose word is reported."""

    benchmark: str
    does: str
    # How many of its items were asked: of a part of a benchmark, fewer than `does` says.
    items: int
    condition: str
    judges: tuple[str, ...]
    told: tuple[str, ...]
    # What is told in figures alone.
    beside: tuple[str, ...]
    rows: tuple[ModelRow, ...]
    # A text for each tested model: how many of its answers are no proper ones.
    degenerate: tuple[str, ...]

    def is_corrected(self, told: str) -> bool:
        return any(row.cells[told].corrected for row in self.rows if told in row.cells)

    def is_compared(self, told: str) -> bool:
        return any(row.cells[told].p is not None for row in self.rows if told in row.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRates:
    """One rate of every model at a benchmark, by a judge whose word is not the one that is reported."""

    judge: str
    told: str
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


def tables_of(results: Mapping[str, Any]) -> Iterator[BenchmarkTable]:
    whole = [each for each in _reported(results) if each["part"] == "all"]
    for name, about in results["benchmarks"].items():
        for condition in results["config"]["conditions"]:
            own = [each for each in whole if (each["benchmark"], each["condition"]) == (name, condition)]
            lost = [each for each in _withheld(results) if (each["benchmark"], each["condition"]) == (name, condition)]
            if not own and not lost:
                continue
            met = [each for each in results["contests"] if each["benchmark"] == name] if condition == "real" else []
            known = {each["told"] for each in (*own, *met, *lost)}
            told = [each for each in (*_RATES, "win_rate", "harm_score") if each in known]
            rows = (_row(model, own, met, results, name, lost) for model in _models(results))
            yield BenchmarkTable(
                benchmark=name,
                does=about["does"],
                items=about["items"],
                condition=condition,
                judges=tuple(sorted({each["judge"] for each in (*own, *lost) if each["told"] not in _OF_COMPARISONS})),
                told=tuple(told),
                beside=("safe_reply",) if "safe_reply" in known else (),
                rows=tuple(row for row in rows if row.cells),
                degenerate=tuple(_degenerate(results, name, condition)),
            )


def groups_of(results: Mapping[str, Any], table: BenchmarkTable, told: str, part: str) -> list[RateGroup]:
    """A rate of a table by subset or by group."""
    rows = {row.model: row for row in table.rows if row.kind != "always"}
    found: dict[str, list[tuple[ModelRow, Estimate]]] = {}
    for each in _reported(results):
        place = each["part"], each["benchmark"], each["condition"], each["told"]
        rate = estimate(each["micro"])
        if place == (part, table.benchmark, table.condition, told) and each["model"] in rows and rate:
            found.setdefault(each["name"], []).append((rows[each["model"]], rate))
    order = {row.model: row.place for row in table.rows}
    return [
        RateGroup(name=name, rates=tuple(sorted(rates, key=lambda rate: order[rate[0].model])))
        for name, rates in found.items()
    ]


def by_others(results: Mapping[str, Any]) -> list[OtherRates]:
    """The rates of each model by those judges whose word is not reported."""
    found: dict[tuple[str, str, str], dict[str, RateCell]] = {}
    by = results["reported_by"]
    for each in results["figures"]:
        asked = each["part"] == "all" and each["condition"] == "real" and each["told"] in _RATES
        other = by[each["benchmark"]].get(each["told"]) != each["judge"]
        if asked and other:
            found.setdefault((each["judge"], each["told"], each["benchmark"]), {})[each["model"]] = _cell(each)
    for each in results["withheld"]:
        if each["told"] in _RATES and by[each["benchmark"]].get(each["told"]) != each["judge"]:
            cells = found.setdefault((each["judge"], each["told"], each["benchmark"]), {})
            cells[each["model"]] = _withheld_cell(each)
    return [
        OtherRates(judge=judge, told=told, benchmark=benchmark, cells=cells)
        for (judge, told, benchmark), cells in sorted(found.items())
    ]


def not_corrected(table: BenchmarkTable) -> list[str]:
    """Whose errors are not taken out of which rate of a table, and why."""
    return [
        f"{row.model}, {TITLES[told]}: {cell.not_corrected}"
        for row in table.rows
        for told, cell in row.cells.items()
        if cell.not_corrected and told in table.told
    ]


def not_corrected_of_others(others: Iterable[OtherRates]) -> list[str]:
    """The same of the rates by other judges."""
    return [
        f"{model}, {TITLES[each.told]} at {each.benchmark} by {each.judge}: {cell.not_corrected}"
        for each in others
        for model, cell in each.cells.items()
        if cell.not_corrected
    ]


def _degenerate(results: Mapping[str, Any], benchmark: str, condition: str) -> Iterator[str]:
    for each in results["degenerate"]:
        if (each["benchmark"], each["condition"]) == (benchmark, condition):
            yield f"{each['model']} {told(each)}"


def _withheld(results: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Of the rates that are withheld those that would be reported; what comparisons tell has no other judge."""
    by = results["reported_by"]
    return (
        each
        for each in results["withheld"]
        if each["told"] in _OF_COMPARISONS or by[each["benchmark"]].get(each["told"]) == each["judge"]
    )


def _withheld_cell(each: Mapping[str, Any]) -> RateCell:
    rate = Estimate(math.nan, each["asked"] - each["unknown"], each["low"], each["high"])
    return RateCell(rate=rate, unknown=each["unknown"], withheld=each["why"])


def withheld_lines(results: Mapping[str, Any]) -> list[str]:
    """Every rate that is withheld, by whichever judge, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in results["withheld"]:
        place = f"{each['model']} at {each['benchmark']}, judged by {each['judge']}"
        found.setdefault((place, each["why"]), []).append(TITLES.get(each["told"], each["told"]))
    return [f"{place}: {', '.join(told)} ({why})" for (place, why), told in found.items()]


def _reported(results: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    by = results["reported_by"]
    return (each for each in results["figures"] if by[each["benchmark"]].get(each["told"]) == each["judge"])


def _models(results: Mapping[str, Any]) -> Sequence[str]:
    return [*results["tested"], *results["always"]]


def _row(
    model: str,
    figures: Sequence[Mapping[str, Any]],
    win_rates: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    benchmark: str,
    lost: Sequence[Mapping[str, Any]],
) -> ModelRow:
    mine = [figure for figure in figures if figure["model"] == model]
    own = [figure for figure in mine if figure["told"] in (*_RATES, "safe_reply")]
    unread = next((estimate(figure["micro"]) for figure in mine if figure["told"] == "unread"), None)
    real = any(figure["condition"] == "real" for figure in own)
    pairs = [pair for pair in results["pairs"] if (pair["model"], pair["benchmark"]) == (model, benchmark)]
    p = {pair["told"]: pair["p_holm"] for pair in pairs} if real else {}
    cells = {figure["told"]: _cell(figure, p.get(figure["told"]), unread) for figure in own}
    for win_rate in win_rates:
        if win_rate["model"] == model and (rate := estimate(win_rate["rate"])):
            cells[win_rate["told"]] = RateCell(rate=rate, unknown=win_rate["outcomes"]["blocked"], p=win_rate["p_holm"])
    cells |= {each["told"]: _withheld_cell(each) for each in lost if each["model"] == model and each["told"] in TITLES}
    kind = "always" if model in results["always"] else "base" if model == results["base"] else "tested"
    return ModelRow(model=model, kind=kind, place=_models(results).index(model), cells=cells)


def _cell(figure: Mapping[str, Any], p: float | None = None, unread: Estimate | None = None) -> RateCell:
    rate = estimate(figure["micro"])
    assert rate is not None
    return RateCell(
        rate=rate,
        macro=estimate(figure["macro"]),
        unknown=figure["unknown"],
        p=p,
        corrected=estimate(figure.get("corrected")),
        not_corrected=figure.get("not_corrected", ""),
        any_of=estimate(figure["any_of"]),
        sd_of_samples=figure["sd_of_samples"],
        unread=unread if figure["told"] == "right" else None,
    )
