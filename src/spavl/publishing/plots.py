"""The charts of the data card, as images."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from spavl.data.dataset.notes import DatasetCounts
from spavl.data.preferences.notes import PreferencesNotes
from spavl.report import charts

_WIDTH, _PLOT_LEFT, _PLOT_WIDTH, _MARGIN = 860, 270, 400, 20
_HEAD = 64
_CHOSEN_AND_REJECTED = (("before", "rejected answers"), ("after", "chosen answers, with 95 % intervals"))


class CardChart(NamedTuple):
    title: str
    file: str
    svg: str


class ChartRow(NamedTuple):
    """One line of a sheet: a label, a chart, and its numbers as text."""

    label: str
    chart: Markup
    height: int
    figure: str = ""


def draw(counts: DatasetCounts, preferences: PreferencesNotes) -> list[CardChart]:
    """Draw the charts for which there are counts."""
    sheets = [
        ("Pairs by class", "classes.svg", (), _class_lines(counts)),
        ("Unsafe answers by class", "unsafe.svg", _CHOSEN_AND_REJECTED, _unsafe_lines(counts)),
        ("What the pairs teach", "contrasts.svg", (), _contrast_lines(counts)),
        ("How long the texts are, in words", "lengths.svg", (), _length_lines(counts)),
        ("What the judge said of the pairs", "judge.svg", (), _judge_lines(preferences)),
    ]
    return [CardChart(title, file, sheet(title, legend, lines)) for title, file, legend, lines in sheets if lines]


def _class_lines(counts: DatasetCounts) -> list[ChartRow]:
    most = max((row.pairs for row in counts.classes), default=0)
    return [
        ChartRow(row.name, charts.bar("", row.pairs, 0, most), 22, f"{row.pairs:,} pairs") for row in counts.classes
    ]


def _unsafe_lines(counts: DatasetCounts) -> list[ChartRow]:
    lines = []
    rates = [(row.name, row.rejected_unsafe, row.chosen_unsafe) for row in counts.classes]
    for name, rejected, chosen in [*rates, ("all", counts.total.rejected_unsafe, counts.total.chosen_unsafe)]:
        if chosen.n and rejected.n:
            chart = charts.interval_row("", [charts.ChartMark("before", rejected), charts.ChartMark("after", chosen)])
            lines.append(ChartRow(name, chart, 48, f"{rejected.value:.0%} and {chosen.value:.0%}"))
    return [*lines, ChartRow("", charts.axis(), 20)] if lines else []


def _contrast_lines(counts: DatasetCounts) -> list[ChartRow]:
    return _stacked_bar_rows("all pairs", counts.contrast, ("both", "safety", "helpfulness", "unknown"))


def _length_lines(counts: DatasetCounts) -> list[ChartRow]:
    """Bars of the median lengths; the text beside each also has the 10th and 90th percentile."""
    words = {name: counted for name, counted in counts.words.items() if counted}
    most = max((counted[1] for counted in words.values()), default=0)
    return [
        ChartRow(name, charts.bar("", middle, 0, most), 22, f"{middle} ({low} to {high})")
        for name, (low, middle, high) in words.items()
    ]


def _judge_lines(notes: PreferencesNotes) -> list[ChartRow]:
    order = ("win", "loss", "tie", "inconsistent", "blocked")
    return _stacked_bar_rows("the first answer", notes.outcomes, order) if notes.outcomes else []


def _stacked_bar_rows(label: str, counted: Mapping[str, int], order: Sequence[str]) -> list[ChartRow]:
    parts = [charts.BarPart(name, counted[name]) for name in order if counted.get(name)]
    told = ", ".join(f"{part.name} {part.number:,}" for part in parts)
    return [ChartRow(label, charts.stack("", parts), 30), ChartRow("", Markup(""), 22, told)]


def sheet(title: str, legend: Sequence[tuple[str, str]], lines: Sequence[ChartRow]) -> str:
    """A column of charts with a title, as one SVG. `legend` pairs the style of a mark with its meaning."""
    drawn, y = [], _HEAD if legend else _HEAD - 22
    for line in lines:
        middle = y + line.height / 2 + 4.5
        drawn.append(Markup('<text class="label" x="{}" y="{:.1f}">{}</text>').format(_MARGIN, middle, line.label))
        drawn.append(
            Markup('<svg x="{}" y="{}" width="{}" height="{}" overflow="visible">{}</svg>').format(
                _PLOT_LEFT, y, _PLOT_WIDTH, line.height, line.chart
            )
        )
        right = _WIDTH - _MARGIN
        drawn.append(Markup('<text class="figure" x="{}" y="{:.1f}">{}</text>').format(right, middle, line.figure))
        y += line.height
    height = y + _MARGIN
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img">'
            "<title>{2}</title><style>{3}{4}</style>"
            '<rect class="paper" width="{0}" height="{1}"/><text class="title" x="{5}" y="30">{2}</text>{6}{7}</svg>\n'
        ).format(
            _WIDTH,
            height,
            title,
            Markup(charts.style()),
            Markup(_STYLE),
            _MARGIN,
            _legend(legend),
            Markup("").join(drawn),
        )
    )


def _legend(entries: Sequence[tuple[str, str]]) -> Markup:
    x, drawn = _PLOT_LEFT, []
    for kind, meaning in entries:
        drawn.append(Markup('<g transform="translate({} 47)">{}</g>').format(x, _MARKS[kind]))
        drawn.append(Markup('<text class="key" x="{}" y="51">{}</text>').format(x + 16, escape(meaning)))
        x += 34 + round(6.6 * len(meaning))
    return Markup("").join(drawn)


_MARKS = {
    "before": Markup('<circle class="dot before" cx="5" r="4.5"/>'),
    "after": Markup('<circle class="dot after" cx="5" r="4.5"/>'),
}

# The order of the two answers has no meaning, so `loss` does not get the colour of a bad outcome.
_STYLE = """
.part.loss { fill: var(--middle); }
.paper { fill: var(--paper); }
text { fill: var(--quiet); font: 12.5px var(--sans); font-variant-numeric: tabular-nums; }
text.title { fill: var(--ink); font: 400 17px var(--serif); }
text.label { fill: var(--ink); }
text.figure { text-anchor: end; fill: var(--ink); }
"""
