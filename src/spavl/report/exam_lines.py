"""The figures of an exam as lines for a terminal, as a table for a paper, and as a block for a model card."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spavl.report.exam_figures import TITLES, Cell, Row, Table, tables_of
from spavl.report.words import p_value


def lines(results: Mapping[str, Any]) -> Iterator[str]:
    """What a terminal shows: every benchmark as it means to be asked."""
    for table in tables_of(results):
        if table.condition == "real":
            yield ""
            yield f"{table.benchmark}: {table.does}"
            yield f"judged by {', '.join(table.judges)}; p against {results['base']}, with Holm's correction"
            yield from aligned(list(_rows(table)))
    yield ""
    yield from (f"look twice: {doubt}" for doubt in results["doubts"])
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
    for table in tables_of(results):
        yield ""
        yield f"{heading} {table.benchmark}" + (f", {table.condition}" if table.condition != "real" else "")
        yield ""
        yield f"{table.does[0].upper()}{table.does[1:]}. Judged by {', '.join(f'`{name}`' for name in table.judges)}."
        yield ""
        yield "| model | " + " | ".join(f"{TITLES[told]} | n | p" for told in table.told) + " |"
        yield "| --- |" + " ---: | ---: | ---: |" * len(table.told)
        for row in table.rows:
            cells = (_in_markdown(row.cells.get(told)) for told in table.told)
            yield " | ".join([f"| {_plain(row.model)}", *cells]) + " |"


def _in_markdown(cell: Cell | None) -> str:
    if cell is None:
        return "– | – | –"
    unknown = f" (+{cell.unknown:,} not judged)" if cell.unknown else ""
    return f"{_value(cell)} {_interval(cell)} | {cell.rate.n:,}{unknown} | {_p(cell) or '–'}"


def _plain(name: str) -> str:
    return name.replace("|", "\\|")


def _how_it_was_made(results: Mapping[str, Any]) -> str:
    config = results["config"]
    decoding = f"temperature {config['temperature']:g}, at most {config['max_tokens']} tokens, seed {config['seed']}"
    samples = f", {config['samples']} samples of each" if config["samples"] > 1 else ""
    return (
        f"Rates in per cent with 95 % intervals (Wilson, widened where items share a picture; they reach over answers "
        f"that could not be judged). p: paired, against {results['base']}, exact McNemar or sign flips of clusters, "
        f"Holm over all benchmarks; of wins, a sign test. Answers: {decoding}{samples}. "
        f"spavl {results['versions']['spavl']}."
    )


def _rows(table: Table) -> Iterator[Sequence[str]]:
    yield ["", *(cell for told in table.told for cell in (TITLES[told], "", "", "p"))]
    for row in table.rows:
        yield [row.model, *(text for told in table.told for text in _texts(row, told))]


def _texts(row: Row, told: str) -> Sequence[str]:
    cell = row.cells.get(told)
    if cell is None:
        return ("–", "", "", "")
    unknown = f"+{cell.unknown:,}?" if cell.unknown else ""
    return (_value(cell), _interval(cell), f"n={cell.rate.n:,}{unknown}", _p(cell))


def _value(cell: Cell) -> str:
    return f"{100 * cell.rate.value:.1f}" if math.isfinite(cell.rate.value) else "?"


def _interval(cell: Cell) -> str:
    return f"[{100 * cell.rate.low:.1f}, {100 * cell.rate.high:.1f}]"


def _p(cell: Cell) -> str:
    return "" if cell.p is None else p_value(cell.p)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
