"""The figures of an exam as lines for a terminal, as a table for a paper, and as a block for a model card."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from spavl.report.exam_figures import (
    TITLES,
    Cell,
    OtherRates,
    Row,
    Table,
    by_others,
    not_corrected,
    not_corrected_of_others,
    tables_of,
    withheld_lines,
)
from spavl.report.words import p_value
from spavl.statistics import Estimate


def lines(results: Mapping[str, Any]) -> Iterator[str]:
    """What a terminal shows: every benchmark as it means to be asked."""
    for table in tables_of(results):
        if table.condition == "real":
            yield ""
            yield f"{table.benchmark}: {table.does}"
            yield f"judged by {', '.join(table.judges)}; p against {results['base']}, with Holm's correction"
            yield from aligned(list(_rows(table)))
            yield from (f"no errors taken out: {reason}" for reason in not_corrected(table))
            yield f"degenerate answers: {'; '.join(table.degenerate)}"
    others = _other_guards(results)
    if corrected := [each for each in others if each.is_corrected]:
        yield ""
        yield "by other judges, whose word is not reported above:"
        yield from aligned([_HEAD_OF_OTHERS, *_corrected_rows(corrected)])
    yield from (f"no errors taken out: {reason}" for reason in not_corrected_of_others(others))
    yield ""
    yield from (f"beware: {told}" for told in (*results["canaries"]["told"], *results["aliases"]))
    yield from (f"look twice: {doubt}" for doubt in (*results["doubts"], *results["audit"].get("faults", ())))
    yield f"{results['calls']['calls']:,.0f} calls, {results['calls']['usd']:.2f} USD"


def markdown(results: Mapping[str, Any]) -> str:
    """A table for a paper: a row for each model, with intervals, n and p."""
    return "\n".join(["# Results", *_markdown(results, heading="##"), "", _how_it_was_made(results), ""])


def card(results: Mapping[str, Any]) -> str:
    """A section for the card of a model, to be put into its README.md."""
    head = ["## Safety evaluation", "", "Measured with [spavl](https://pypi.org/project/spavl/), `spavl eval`."]
    names = [f"- {name}: `{results['models'][name]}`" for name in results["tested"]]
    return "\n".join([*head, "", *names, *_markdown(results, heading="###"), "", _how_it_was_made(results), ""])


def _markdown(results: Mapping[str, Any], heading: str) -> Iterator[str]:
    for rate in withheld_lines(results):
        yield ""
        yield f"Withheld: {_plain(rate)}."
    for table in tables_of(results):
        columns = list(_columns(table))
        yield ""
        yield f"{heading} {table.benchmark}" + (f", {table.condition}" if table.condition != "real" else "")
        yield ""
        yield f"{table.does[0].upper()}{table.does[1:]}. Judged by {', '.join(f'`{name}`' for name in table.judges)}."
        yield ""
        yield f"| model | {' | '.join(column.title for column in columns)} |"
        yield f"| --- |{' ---: |' * len(columns)}"
        for row in table.rows:
            yield f"| {_plain(row.model)} | {' | '.join(column.of(row) for column in columns)} |"
        for reason in not_corrected(table):
            yield ""
            yield f"No errors taken out: {_plain(reason)}."
        yield ""
        yield f"Degenerate answers: {'; '.join(table.degenerate)}."
    yield from _markdown_of_others(_other_guards(results), heading)


def _other_guards(results: Mapping[str, Any]) -> list[OtherRates]:
    """The rates by those guards whose word is not reported. Those by lists of words are in the report."""
    return [each for each in by_others(results) if each.judge in results["guards"].values()]


def _markdown_of_others(others: Sequence[OtherRates], heading: str) -> Iterator[str]:
    """What else is known where a judge that is never wrong is named: the other judges' rates without their errors."""
    if corrected := [each for each in others if each.is_corrected]:
        yield from ("", f"{heading} By other judges", "", "Their word is not the one that is reported above.", "")
        yield f"| {' | '.join(_HEAD_OF_OTHERS)} |"
        yield "| --- | --- | --- | ---: | ---: | ---: |"
        yield from (f"| {' | '.join(map(_plain, row))} |" for row in _corrected_rows(corrected))
    for reason in not_corrected_of_others(others):
        yield ""
        yield f"No errors taken out: {_plain(reason)}."


_HEAD_OF_OTHERS = ("judge", "rate", "model", "as judged", "n", "errors taken out")


def _corrected_rows(others: Iterable[OtherRates]) -> Iterator[Sequence[str]]:
    for each in others:
        for model, cell in each.cells.items():
            if cell.corrected:
                what = f"{TITLES[each.told]}, {each.benchmark}"
                yield (each.judge, what, model, _rate(cell.rate), f"{cell.rate.n:,}", _rate(cell.corrected))


class _Column(NamedTuple):
    title: str
    told: str
    text: Callable[[Cell], str]

    def of(self, row: Row) -> str:
        cell = row.cells.get(self.told)
        return (self.text(cell) if cell else "") or "–"


def _columns(table: Table) -> Iterator[_Column]:
    """Each rate with its interval and n, and beside it what else is known of any model."""
    for told in table.told:
        cells = [row.cells[told] for row in table.rows if told in row.cells]
        yield _Column(TITLES[told], told, lambda cell: "withheld" if cell.withheld else _rate(cell.rate))
        yield _Column("n", told, lambda cell: f"{cell.rate.n:,}{_not_judged(cell)}")
        if any(cell.unread for cell in cells):
            yield _Column("unread", told, lambda cell: _rate(cell.unread))
        if any(cell.macro for cell in cells):
            yield _Column("over groups", told, lambda cell: _rate(cell.macro))
        if table.is_corrected(told):
            yield _Column("errors taken out", told, lambda cell: _rate(cell.corrected))
        if any(cell.any_of for cell in cells):
            yield _Column("sd of samples", told, lambda cell: _value(cell.sd_of_samples))
            yield _Column("any of them", told, lambda cell: _rate(cell.any_of) + _of_fewer(cell))
        yield _Column("p", told, lambda cell: "" if cell.p is None else p_value(cell.p))


def _rate(rate: Estimate | None) -> str:
    return f"{_value(rate.value)} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]" if rate else ""


def _value(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}" if math.isfinite(share) else "?"


def _not_judged(cell: Cell) -> str:
    return f" (+{cell.unknown:,} not judged)" if cell.unknown else ""


def _of_fewer(cell: Cell) -> str:
    """On how many items all samples are known, where these are not all of the rate's."""
    return f" (n = {cell.any_of.n:,})" if cell.any_of and cell.any_of.n < cell.rate.n else ""


def _plain(name: str) -> str:
    return name.replace("|", "\\|")


def _how_it_was_made(results: Mapping[str, Any]) -> str:
    config = results["config"]
    decoding = f"temperature {config['temperature']:g}, at most {config['max_tokens']} tokens, seed {config['seed']}"
    samples = f", {config['samples']} samples of each" if config["samples"] > 1 else ""
    told = (*results["canaries"]["told"], *results["aliases"])
    beware = "".join(f"Beware: {each}. " for each in told)
    return (
        f"Rates in per cent with 95 % intervals (Wilson; where items share a picture, cluster-robust and joined with a "
        f"beta-binomial posterior; they reach over answers that are empty or could not be judged; what no rule could "
        f"read is not right). p: paired, against {results['base']}, exact "
        f"McNemar, of wins a sign test, or sign flips of clusters; Holm over all benchmarks. "
        f"Answers: {decoding}{samples}. {beware}spavl {results['versions']['spavl']}."
    )


def _rows(table: Table) -> Iterator[Sequence[str]]:
    columns = list(_columns(table))
    yield ["", *(column.title for column in columns)]
    for row in table.rows:
        yield [row.model, *(column.of(row) for column in columns)]


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
