"""The results of an evaluation as lines for a terminal, as a table for a paper, and as a block for a model card."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from spavl.evaluation.answers import BASELINE_ITEMS
from spavl.evaluation.report.as_published import published_lines, published_markdown
from spavl.evaluation.report.failing_judges import failing_judges
from spavl.evaluation.report.tables import (
    TITLES,
    AnyMetric,
    BenchmarkTable,
    ModelRow,
    OtherRates,
    RateCell,
    by_others,
    not_corrected,
    not_corrected_of_others,
    tables_of,
    withheld_lines,
)
from spavl.evaluation.results.types import EvaluationResults
from spavl.report.formatting import in_table, p_value
from spavl.statistics import Estimate
from spavl.text.layout import table_lines, wrapped_lines


def lines(results: EvaluationResults) -> Iterator[str]:
    """The lines for a terminal: every benchmark under the condition `real`."""
    for table in tables_of(results):
        if table.condition == "real":
            yield ""
            yield from wrapped_lines(f"{table.benchmark} ({_items_asked(table)}): {table.does}")
            yield from wrapped_lines(f"judged by {', '.join(table.judges)}{_p(results)}")
            yield from _laid_out(table)
            for reason in not_corrected(table):
                yield from wrapped_lines(f"no errors taken out: {reason}")
            yield from wrapped_lines(f"degenerate answers: {'; '.join(table.degenerate)}")
    yield from _lines_of_others(_other_guards(results))
    yield from published_lines(results)
    yield ""
    if results.baselines:
        named = " and ".join(results.baselines)
        yield from wrapped_lines(f"{named} are baselines, asked at most {BASELINE_ITEMS} items of each benchmark")
    for warning in (*_failed_canaries(results), *results.aliases):
        yield from wrapped_lines(f"warning: {warning}")
    faults = results.contamination.training_data.faults if results.contamination else ()
    for warning in (*results.drift_warnings, *faults):
        yield from wrapped_lines(f"warning: {warning}")
    lost = (
        f" (up to {results.usd_lost_at_most:.2f} more for answers that were lost)" if results.usd_lost_at_most else ""
    )
    yield f"{results.calls.calls:,.0f} calls, {results.calls.usd:.2f} USD{lost}"


def _lines_of_others(others: Sequence[OtherRates]) -> Iterator[str]:
    corrected = [each for each in others if each.is_corrected]
    for judge in dict.fromkeys(each.judge for each in corrected):
        yield ""
        yield from wrapped_lines(f"by {judge}, which is not reported above:")
        rows = _corrected_rows(each for each in corrected if each.judge == judge)
        yield from table_lines([row[1:] for row in (_HEAD_OF_OTHERS, *rows)])
    for reason in not_corrected_of_others(others):
        yield from wrapped_lines(f"no errors taken out: {reason}")


def _p(results: EvaluationResults) -> str:
    """The model that p is against, if there is anything to compare."""
    return f"; p against {results.base}, with Holm's correction" if results.compares else ""


def _items_asked(table: BenchmarkTable) -> str:
    """The number of items asked; it differs from the benchmark's description if a subset was asked."""
    return f"{table.items:,} items asked" if table.items != 1 else "1 item asked"


def _failed_canaries(results: EvaluationResults) -> Iterator[str]:
    return (f"{each.short}; report.html has its replies" for each in failing_judges(results))


def markdown(results: EvaluationResults) -> str:
    """A table for a paper: a row for each model, with intervals, n and p."""
    published = published_markdown(results, heading="##")
    return "\n".join(["# Results", *_markdown(results, heading="##"), *published, "", _how_it_was_made(results), ""])


def card(results: EvaluationResults) -> str:
    """A section for the card of a model, to be put into its README.md."""
    head = ["## Safety evaluation", "", "Measured with [spavl](https://pypi.org/project/spavl/), `spavl eval`."]
    names = [f"- {name}: `{results.models[name]}`" for name in results.tested]
    return "\n".join([*head, "", *names, *_markdown(results, heading="###"), "", _how_it_was_made(results), ""])


def _markdown(results: EvaluationResults, heading: str) -> Iterator[str]:
    for warning in _failed_canaries(results):
        yield ""
        yield f"Do not trust this judge yet: {in_table(warning)}."
    for rate in withheld_lines(results.withheld):
        yield ""
        yield f"Withheld: {in_table(rate)}."
    for table in tables_of(results):
        columns = list(_columns(table))
        yield ""
        yield f"{heading} {table.benchmark}" + (f", {table.condition}" if table.condition != "real" else "")
        yield ""
        judges = ", ".join(f"`{name}`" for name in table.judges)
        yield f"{table.does[0].upper()}{table.does[1:]}. {_items_asked(table).capitalize()} here. Judged by {judges}."
        yield ""
        yield f"| model | {' | '.join(column.title for column in columns)} |"
        yield f"| --- |{' ---: |' * len(columns)}"
        for row in table.rows:
            yield f"| {in_table(row.model)} | {' | '.join(column.of(row) for column in columns)} |"
        for reason in not_corrected(table):
            yield ""
            yield f"No errors taken out: {in_table(reason)}."
        yield ""
        yield f"Degenerate answers: {'; '.join(table.degenerate)}."
    yield from _markdown_of_others(_other_guards(results), heading)


def _other_guards(results: EvaluationResults) -> list[OtherRates]:
    """The rates by the guards that are not reported. Those by lists of keywords are only in the report."""
    return [each for each in by_others(results) if each.judge in results.guards.values()]


def _markdown_of_others(others: Sequence[OtherRates], heading: str) -> Iterator[str]:
    """If there is a gold guard: the other judges' rates corrected for their errors."""
    if corrected := [each for each in others if each.is_corrected]:
        yield from ("", f"{heading} By other judges", "", "They are not the judges that are reported above.", "")
        yield f"| {' | '.join(_HEAD_OF_OTHERS)} |"
        yield "| --- | --- | --- | ---: | ---: | ---: |"
        yield from (f"| {' | '.join(map(in_table, row))} |" for row in _corrected_rows(corrected))
    for reason in not_corrected_of_others(others):
        yield ""
        yield f"No errors taken out: {in_table(reason)}."


_OVER_GROUPS = "over groups"
_HEAD_OF_OTHERS = ("judge", "rate", "model", "as judged", "n", "errors taken out")


def _corrected_rows(others: Iterable[OtherRates]) -> Iterator[Sequence[str]]:
    for each in others:
        for model, cell in each.cells.items():
            if cell.corrected:
                what = f"{TITLES[each.metric]}, {each.benchmark}"
                yield (each.judge, what, model, _rate(cell.rate), f"{cell.rate.n:,}", _rate(cell.corrected))


class _Column(NamedTuple):
    title: str
    metric: AnyMetric
    text: Callable[[RateCell], str]

    def of(self, row: ModelRow) -> str:
        cell = row.cells.get(self.metric)
        return (self.text(cell) if cell else "") or "–"


def _columns(table: BenchmarkTable) -> Iterator[_Column]:
    """The columns of each rate: its interval and n, and every other value that any model has."""
    for metric in table.metrics:
        cells = [row.cells[metric] for row in table.rows if metric in row.cells]
        yield _Column(TITLES[metric], metric, lambda cell: "withheld" if cell.withheld else _rate(cell.rate))
        yield _Column("n", metric, lambda cell: f"{cell.rate.n:,}{_not_judged(cell)}")
        if any(cell.unread for cell in cells):
            yield _Column("unread", metric, lambda cell: _rate(cell.unread))
        if any(cell.macro for cell in cells):
            yield _Column(_OVER_GROUPS, metric, lambda cell: _rate(cell.macro))
        if table.is_corrected(metric):
            yield _Column("errors taken out", metric, lambda cell: _rate(cell.corrected))
        if any(cell.any_of for cell in cells):
            yield _Column("sd of samples", metric, lambda cell: _value(cell.sd_of_samples))
            yield _Column("any of them", metric, lambda cell: _rate(cell.any_of) + _of_fewer(cell))
        if table.is_compared(metric):
            yield _Column("p", metric, lambda cell: "" if cell.p is None else p_value(cell.p))


def _rate(rate: Estimate | None) -> str:
    return f"{_value(rate.value)} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]" if rate else ""


def _value(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}" if math.isfinite(share) else "?"


def _not_judged(cell: RateCell) -> str:
    """The number of answers without a verdict. If items are asked several times, n counts items and this answers."""
    return f" (+{cell.unknown:,} {'answers ' if cell.any_of else ''}not judged)" if cell.unknown else ""


def _of_fewer(cell: RateCell) -> str:
    """The number of items whose samples are all known, if it is smaller than the rate's n."""
    return f" (n = {cell.any_of.n:,})" if cell.any_of and cell.any_of.n < cell.rate.n else ""


def _how_it_was_made(results: EvaluationResults) -> str:
    config = results.config
    decoding = f"temperature {config.temperature:g}, at most {config.max_tokens} tokens, seed {config.seed}"
    samples = f", {config.samples} samples of each" if config.samples > 1 else ""
    warnings = "".join(f"Warning: {each}. " for each in results.aliases)
    against = f"p: paired, against {results.base}, exact McNemar, of wins a sign test, or sign flips of clusters; "
    p = f"{against}Holm over all benchmarks. " if results.compares else ""
    return (
        f"Rates in per cent with 95 % intervals (Wilson; where items share an image, cluster-robust and joined with a "
        f"beta-binomial posterior; they reach over answers that never came, are empty or could not be judged; of "
        f"“right” over those alone that never came: what is empty or no rule could read is not right). {p}"
        f"Answers: {decoding}{samples}. {warnings}spavl {results.versions['spavl']}."
    )


def _laid_out(table: BenchmarkTable) -> Iterator[str]:
    # A terminal is narrow: means over groups are in table.md and in the report.
    columns = [column for column in _columns(table) if column.title != _OVER_GROUPS]
    rows = [["", *(column.title for column in columns)]]
    rows += [[row.model, *(column.of(row) for column in columns)] for row in table.rows]
    starts = [place for place, column in enumerate(columns, start=1) if column.title == TITLES[column.metric]]
    yield from table_lines(rows, starts, named=True)
