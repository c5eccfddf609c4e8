"""The figures of an exam as a table for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spavl.report.exam_figures import Shown, shown_of
from spavl.report.words import p_value

_TITLES = {"unsafe": "unsafe", "over_refusal": "over-refusal", "right": "right", "win": "wins", "harm": "harm score"}


def lines(results: Mapping[str, Any]) -> Iterator[str]:
    for shown in shown_of(results):
        if shown.condition != "real":
            continue
        yield ""
        yield f"{shown.benchmark}: {shown.does}"
        if shown.judge:
            yield f"judged by {shown.judge}"
        yield from _aligned(list(_rows(shown)))
    yield ""
    totals = results["calls"]
    yield f"{totals['calls']:,.0f} calls, {totals['usd']:.2f} USD"


def _rows(shown: Shown) -> Iterator[Sequence[str]]:
    yield ["", *(cell for told in shown.told for cell in (_TITLES[told], "", "p"))]
    for row in shown.rows:
        cells = [row.model]
        for told in shown.told:
            cells += [*_cell(row.cells.get(told)), _p(row.p.get(told))]
        yield cells


def _cell(estimate: Mapping[str, Any] | None) -> tuple[str, str]:
    if estimate is None or (estimate["value"] is None and not estimate["n"]):
        return "–", ""
    value = "?" if estimate["value"] is None else f"{100 * estimate['value']:.1f} %"
    return value, f"[{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}] n={estimate['n']:,}"


def _p(p: float | None) -> str:
    return "" if p is None else p_value(p)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
