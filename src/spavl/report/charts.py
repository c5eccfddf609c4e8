"""Charts as pure functions that return inline SVG.

Positions along a chart are percentages and heights are pixels, so a chart fills whatever
width it is given, on paper or on a phone, while its text and its marks keep their size.
Colours are CSS variables of the page; a shape or a label always says the same as a colour.
"""

import math
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from markupsafe import Markup, escape

from spavl.report.formatting import harmless
from spavl.statistics import Estimate

# The CSS class of an estimate's mark: before, after, only, baseline, or one of several models (m0, m1, ...).
Arm = str

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_MOST_POINTS = 500
# A series with fewer points is not smoothed.
_FEW = 20
# Under a dot of a plane, for the letters of the dots that it hides.
_ROOM = 30
# From these shares of the width and of the height two dots of a plane are apart.
_APART = (0.025, 0.055)


def style() -> str:
    """The CSS of the charts; without it a chart is black on black."""
    return (resources.files("spavl.report") / "charts.css").read_text(encoding="utf-8")


def page_style() -> str:
    """The style of every page: that of its charts, and that of its text."""
    return style() + (resources.files("spavl.report") / "style.css").read_text(encoding="utf-8")


class ChartMark(NamedTuple):
    """An estimate, drawn as a dot on its interval."""

    arm: Arm
    estimate: Estimate


class BarPart(NamedTuple):
    """A segment of a stacked bar."""

    name: str
    number: int


class LineSeries(NamedTuple):
    """One line of a chart: points (x, y) in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def interval_row(title: str, marks: Sequence[ChartMark], reference: float | None = None) -> Markup:
    """Dots on their 95 % intervals over an axis from 0 to 1; each mark has its own line."""
    edge = 13 if len(marks) < 2 else 16
    height = 2 * edge + 16 * max(0, len(marks) - 1)
    drawn = [_grid(height, reference)]
    places = [(mark, edge + 16 * line) for line, mark in enumerate(marks) if math.isfinite(mark.estimate.value)]
    if len(places) == 2:
        (one, top), (other, bottom) = places
        drawn.append(_line(one.estimate.value, top, other.estimate.value, bottom, "step"))
    for mark, y in places:
        drawn.append(_interval(mark, y))
    return _chart(title, height, "intervals", *drawn)


class PlanePoint(NamedTuple):
    """A model in a plane of two rates, with the letter by which the legend names it."""

    letter: str
    arm: Arm
    across: Estimate
    up: Estimate


def plane(title: str, spots: Sequence[PlanePoint], across: str, up: str) -> Markup:
    """Two rates against each other, each model with both intervals; lower left is best."""
    height, top, bottom = 420, 44, 380
    drawn = [
        *(
            _element("line", x1=_percent(tick), x2=_percent(tick), y1=top, y2=bottom, class_="grid")
            for tick in QUARTERS
        ),
        *(_level_of_plane(tick, top, bottom) for tick in QUARTERS),
        *(
            _element("text", _tick(tick), x=_percent(tick), y=bottom + 18, text_anchor=_anchor(tick))
            for tick in QUARTERS
        ),
        _element("text", f"{across} →", x="100%", y=bottom + 36, text_anchor="end", class_="name"),
        _element("text", f"↑ {up}", x=0, y=12, class_="name"),
    ]
    known = [spot for spot in spots if math.isfinite(spot.across.value) and math.isfinite(spot.up.value)]
    groups = _touching(known)
    for spot in known:
        level, low, high = (bottom - (bottom - top) * share for share in (spot.up.value, spot.up.low, spot.up.high))
        drawn.append(_line(spot.across.low, level, spot.across.high, level, f"reach {spot.arm}"))
        drawn.append(_line(spot.across.value, low, spot.across.value, high, f"reach {spot.arm}"))
    for spot in known:
        x, level = _percent(spot.across.value), bottom - (bottom - top) * spot.up.value
        drawn.append(_element("circle", cx=x, cy=level, r=9, class_=f"dot {spot.arm}"))
        near = next(group for group in groups if spot in group)
        if len(near) == 1:
            drawn.append(_element("text", spot.letter, x=x, y=level + 4, class_=f"letter {spot.arm}"))
        elif near[0] == spot:
            beside = " ".join(other.letter for other in near)
            side = 1 if spot.across.value < 0.5 else -1
            place = {"dx": 14 * side, "text_anchor": "start" if side > 0 else "end"}
            # Under a dot at the bottom it would cover the labels of the axis.
            beneath = -14 if bottom - level < _ROOM else 18
            drawn.append(_element("text", beside, x=x, y=level + beneath, class_="name", **place))
    return _chart(title, height, "plane", *drawn)


def _touching(spots: Sequence[PlanePoint]) -> list[list[PlanePoint]]:
    """The dots in groups: those of a group are hidden by each other, one by the next. A letter is told of every dot."""
    groups: list[list[PlanePoint]] = []
    for spot in spots:
        near = [group for group in groups if any(_touch(spot, other) for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append([*(other for group in near for other in group), spot])
    return [sorted(group, key=spots.index) for group in groups]


def _touch(one: PlanePoint, other: PlanePoint) -> bool:
    """Whether two dots would overlap, so that a letter inside them would be hidden."""
    gaps = abs(one.across.value - other.across.value), abs(one.up.value - other.up.value)
    return all(gap < apart for gap, apart in zip(gaps, _APART, strict=True))


def _level_of_plane(tick: float, top: float, bottom: float) -> Markup:
    y = bottom - (bottom - top) * tick
    line = _element("line", x1=0, x2="100%", y1=y, y2=y, class_="grid")
    return line + _element("text", _tick(tick), x=-8, y=y + 4, class_="level")


def _tick(tick: float) -> str:
    return f"{tick:.0%}".replace("%", "\u202f%")


def axis(ticks: Sequence[float] = QUARTERS) -> Markup:
    """The labels under a column of interval rows."""
    labels = [_element("text", _tick(tick), x=_percent(tick), y=14, text_anchor=_anchor(tick)) for tick in ticks]
    return _chart("", 20, "axis", *labels)


def bar(title: str, kept: int, dropped: int, largest: int) -> Markup:
    """The rows that a stage kept (filled) and dropped (hollow)."""
    most = max(1, largest)
    parts = [_element("rect", x=0, y=5, width=_percent(max(kept / most, 0.002)), height=12, rx=1, class_="kept")]
    if dropped:
        place = {"x": _percent(kept / most), "width": _percent(max(dropped / most, 0.002))}
        parts.append(_element("rect", y=5.5, height=11, class_="dropped", **place))
    return _chart(title, 22, "bar", *parts)


def stack(title: str, parts: Sequence[BarPart]) -> Markup:
    """Shares of a whole as one bar, in the given order; the legend names segments too narrow for their name."""
    total = sum(part.number for part in parts)
    drawn, start = [], 0.0
    for part in parts:
        share = part.number / total if total else 0.0
        drawn.append(
            _element("rect", x=_percent(start), y=0, width=_percent(share), height=30, class_=f"part {part.name}")
        )
        if share >= 0.12:
            drawn.append(_element("text", part.name, x=_percent(start + share / 2), y=19.5, class_=f"on {part.name}"))
        start += share
    return _chart(title, 30, "stack", *drawn)


def curves(
    title: str, series: Sequence[LineSeries], floor: float | None = None, ceiling: float | None = None
) -> Markup:
    """Lines over steps: raw values faint, moving mean strong. `floor` and `ceiling` widen the y axis."""
    points = [point for line in series for point in line.points]
    if not points:
        return Markup("")
    height, top, bottom = 190, 12, 166
    bounds = [value for value in (floor, ceiling) if value is not None]
    ticks = nice_ticks(min([y for _, y in points] + bounds), max([y for _, y in points] + bounds))
    first, last = min(x for x, _ in points), max(x for x, _ in points)

    def place(point: tuple[float, float]) -> str:
        x = 1000 * (point[0] - first) / ((last - first) or 1)
        y = bottom - (bottom - top) * (point[1] - ticks[0]) / (ticks[-1] - ticks[0])
        return f"{_number(x)},{_number(y)}"

    lines: list[Markup] = []
    for line in series:
        raw, name = thin(line.points), "second" if line.dashed else "first"
        lines.append(_element("polyline", points=" ".join(map(place, raw)), class_=f"raw {name}"))
        lines.append(
            _element("polyline", points=" ".join(map(place, thin(smooth(line.points)))), class_=f"mean {name}")
        )
    plot = _element(
        "svg", *lines, x=0, y=0, width="100%", height=height, viewBox=f"0 0 1000 {height}", preserveAspectRatio="none"
    )
    return _chart(title, height, "curves", *_levels(ticks, top, bottom), plot, *_ends(first, last, height))


class SizePoint(NamedTuple):
    """A rate at a size, such as a number of pairs."""

    size: float
    rate: Estimate


def rates_by_size(title: str, points: Sequence[SizePoint], line: Sequence[SizePoint], arm: Arm, unit: str) -> Markup:
    """Rates with their intervals over sizes on a logarithmic axis, and a fitted line; size 0 is at the left edge."""
    sizes = [point.size for point in points if point.size > 0]
    if not sizes:
        return Markup("")
    height, top, bottom = 230, 12, 186
    first, last = math.log(min(sizes)), math.log(max(sizes))

    def x(size: float) -> float:
        return 0.1 + 0.88 * (math.log(size) - first) / ((last - first) or 1) if size > 0 else 0.01

    def y(rate: float) -> float:
        return bottom - (bottom - top) * min(1.0, max(0.0, rate))

    drawn = [part for tick in QUARTERS for part in _level_of_rate(tick, y(tick))]
    fitted = " ".join(f"{_number(1000 * x(point.size))},{_number(y(point.rate.value))}" for point in line)
    path = _element("polyline", points=fitted, class_="mean first")
    box = {"viewBox": f"0 0 1000 {height}", "preserveAspectRatio": "none"}
    drawn.append(_element("svg", path, x=0, y=0, width="100%", height=height, **box))
    for point in points:
        name = arm if point.size else "baseline"
        drawn.append(_line(x(point.size), y(point.rate.low), x(point.size), y(point.rate.high), f"reach {name}"))
        drawn.append(_element("circle", cx=_percent(x(point.size)), cy=y(point.rate.value), r=5, class_=f"dot {name}"))
    shown = dict.fromkeys([0.0, min(sizes), sorted(sizes)[len(sizes) // 2], max(sizes)])
    for size in shown:
        if size or any(point.size == 0 for point in points):
            text = f"{size:,.0f}".replace(",", "\u202f")
            place = {"text_anchor": _anchor(0.0 if size == 0 else 1.0 if size == max(sizes) else 0.5)}
            drawn.append(_element("text", text, x=_percent(x(size)), y=height - 26, **place))
    drawn.append(_element("text", f"{unit} →", x="100%", y=height - 6, text_anchor="end", class_="name"))
    return _chart(title, height, "plane", *drawn)


def _level_of_rate(tick: float, y: float) -> tuple[Markup, Markup]:
    line = _element("line", x1=0, x2="100%", y1=y, y2=y, class_="grid" if tick else "grid zero")
    return line, _element("text", _tick(tick), x=-10, y=y + 4, class_="level")


def _levels(ticks: Sequence[float], top: float, bottom: float) -> list[Markup]:
    """Horizontal grid lines, labelled to the left of the chart in a margin that the CSS keeps free."""
    drawn: list[Markup] = []
    for tick in ticks:
        y = bottom - (bottom - top) * (tick - ticks[0]) / (ticks[-1] - ticks[0])
        drawn.append(_element("line", x1=0, x2="100%", y1=y, y2=y, class_="grid" if tick else "grid zero"))
        drawn.append(_element("text", f"{tick:g}".replace("-", "−"), x=-10, y=y + 4, class_="level"))
    return drawn


def _ends(first: float, last: float, height: float) -> list[Markup]:
    left = _element("text", f"step {first:g}", x=0, y=height - 8)
    return [left, _element("text", f"{last:g}", x="100%", y=height - 8, text_anchor="end")]


def smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A centred moving mean over about a tenth of the points; it begins and ends where half the window is available.

    A short series is returned unchanged: its mean would show values that were not measured.
    """
    if len(points) < _FEW:
        return list(points)
    reach = max(len(points) // 20, min(len(points) // 4, 1))
    means = []
    for place, (x, _) in enumerate(points):
        side = min(reach, place, len(points) - 1 - place)
        if side < reach // 2:
            continue
        window = points[place - side : place + side + 1]
        means.append((x, math.fsum(y for _, y in window) / len(window)))
    return means


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every k-th point and the last one, so that a long training does not make the page large."""
    every = max(1, math.ceil(len(points) / _MOST_POINTS))
    kept = list(points[::every])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers, evenly spaced, the first and the last of which enclose the range."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * k, 12) for k in range(first, last + 1)]


def _grid(height: float, reference: float | None) -> Markup:
    lines = [_line(tick, 0, tick, height, "grid") for tick in QUARTERS]
    if reference is not None:
        lines.append(_line(reference, 0, reference, height, "reference"))
    return Markup("").join(lines)


def _interval(mark: ChartMark, y: float) -> Markup:
    value, _, low, high = mark.estimate
    low, high = (value if math.isnan(end) else end for end in (low, high))
    drawn = [_line(low, y, high, y, f"reach {mark.arm}")]
    drawn += [_line(end, y - 3.5, end, y + 3.5, f"reach {mark.arm}") for end in (low, high)]
    drawn.append(_element("circle", cx=_percent(value), cy=y, r=5, class_=f"dot {mark.arm}"))
    return Markup("").join(drawn)


def _chart(title: str, height: float, kind: str, *drawn: Markup) -> Markup:
    """An SVG as wide as its container. Without a title it is decorative and hidden from screen readers."""
    if not title:
        return _element("svg", *drawn, class_=f"chart {kind}", width="100%", height=height, aria_hidden="true")
    named = _element("title", title)
    return _element("svg", named, *drawn, class_=f"chart {kind}", width="100%", height=height, role="img")


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> Markup:
    return _element("line", x1=_percent(x1), y1=y1, x2=_percent(x2), y2=y2, class_=name)


def _element(name: str, *children: Markup | str, **attributes: str | float) -> Markup:
    """An element with its text made harmless and all escaped; `class_` and `stroke_width` are spelled as in HTML."""
    spelled = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    pairs = [
        Markup(' {}="{}"').format(key, value if isinstance(value, str) else _number(value)) for key, value in spelled
    ]
    return Markup("<{}{}>{}</{}>").format(
        Markup(name),
        Markup("").join(pairs),
        Markup("").join(escape(harmless(child)) for child in children),
        Markup(name),
    )


def _anchor(share: float) -> str:
    return "start" if share <= 0 else "end" if share >= 1 else "middle"


def _percent(share: float) -> str:
    return f"{_number(100 * share)}%"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"
