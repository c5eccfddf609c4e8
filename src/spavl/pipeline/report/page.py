"""Renders a report as one HTML file that loads nothing: styles, charts and images are embedded."""

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from spavl.pipeline.report.judge_trust import BiasSignal
from spavl.pipeline.report.summary_sentence import open_points, verdict
from spavl.pipeline.report.view_model import (
    REWARD_MODEL,
    BeforeAfterRate,
    DatasetSummary,
    Report,
    ResponderSummary,
    StageSummary,
)
from spavl.publishing.privacy import DONE
from spavl.report import charts, formatting
from spavl.statistics import Estimate

_WHAT_A_STAGE_MAKES = {
    "taxonomy": "kinds of harm",
    "sourcing": "candidate images",
    "downloads": "fetched and decoded",
    "selection": "images that are used",
    "captions": "descriptions of the images",
    "questions": "about the images",
    "question_verdicts": "harmful or harmless, by the guard",
    "responses": "every responder’s answer",
    "verdicts": "safe, unsafe or invalid",
    "pairs": "two answers to a question",
    "preferences": "judged in both orders",
    "dataset": "rows ready for training",
    "training": "points of the training curves",
    "items": "questions about held-out images",
    "canaries": "the judges’ answers to cases with a known verdict",
    "answers": "of the model before and after",
    "judgements": "of each answer",
    "pairwise": "comparisons of before and after",
}


class TrainingCurve(NamedTuple):
    title: str
    note: str
    svg: Markup
    names: tuple[str, ...]
    closing: str


def render(report: Report) -> str:
    """The page. The same report gives the same bytes."""
    return _template().render(
        report=report,
        style=Markup(charts.page_style()),
        verdict=verdict(report),
        open_points=open_points(report),
        largest=max((row.rows + row.dropped_rows for row in report.funnel), default=0),
        tiers=[(tier, list(members)) for tier, members in _by_tier(report.responders)],
        curves=list(_curves(report)),
        makes=_WHAT_A_STAGE_MAKES,
        done=DONE,
    )


@cache
def _template() -> Template:
    """Compiled once: a process that writes several reports would compile it for each."""
    here = resources.files("spavl.pipeline.report")
    return _environment().from_string((here / "page.html").read_text(encoding="utf-8"))


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        finalize=formatting.harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "about": formatting.about,
        "count": formatting.count,
        "duration": formatting.duration,
        "interval": formatting.interval,
        "money": formatting.money,
        "p_value": formatting.p_value,
        "percent": formatting.percent,
        "plain": formatting.plain,
        "spaced": formatting.name_in_words,
        "strength": formatting.strength,
    }
    environment.globals |= {
        "axis": charts.axis,
        "funnel_bar": _funnel_bar,
        "help_row": _help_row,
        "measure_row": _measure_row,
        "outcome_bar": _outcome_bar,
        "responder_row": _responder_row,
        "signal_row": _signal_row,
        "unsafe_row": _unsafe_row,
    }
    return environment


def _measure_row(measure: BeforeAfterRate, place: str) -> Markup:
    """One rate before and after, on separate lines so that close values do not hide each other."""
    told = "; ".join(
        formatting.estimate_in_words(f"{arm} training", estimate)
        for arm, estimate in (("before", measure.before), ("after", measure.after))
    )
    marks = [
        charts.ChartMark("before", measure.before or _NOT_MEASURED),
        charts.ChartMark("after", measure.after or _NOT_MEASURED),
    ]
    return charts.interval_row(f"{measure.title}, {place.lower()}: {told}", marks)


def _help_row(estimate: Estimate) -> Markup:
    title = formatting.estimate_in_words("Help win rate of the answers after training", estimate)
    return charts.interval_row(title, [charts.ChartMark("after", estimate)], reference=0.5)


def _responder_row(responder: ResponderSummary) -> Markup:
    title = formatting.estimate_in_words(f"{responder.model}, tier {responder.tier}: unsafe answers", responder.unsafe)
    return charts.interval_row(title, [charts.ChartMark("only", responder.unsafe)])


def _unsafe_row(dataset: DatasetSummary) -> Markup:
    """The unsafe rates of rejected and chosen answers, drawn like before and after."""
    sides: tuple[tuple[charts.Arm, str, Estimate | None], ...] = (
        ("before", "rejected", dataset.rejected_unsafe),
        ("after", "chosen", dataset.chosen_unsafe),
    )
    told = "; ".join(formatting.estimate_in_words(f"{side} answers", estimate) for _, side, estimate in sides)
    marks = [charts.ChartMark(arm, estimate or _NOT_MEASURED) for arm, _, estimate in sides]
    return charts.interval_row(f"Unsafe answers in the data set: {told}", marks)


def _signal_row(signal: BiasSignal) -> Markup:
    title = formatting.estimate_in_words(signal.title, signal.share)
    return charts.interval_row(title, [charts.ChartMark("only", signal.share)], reference=signal.even)


def _funnel_bar(row: StageSummary, largest: int) -> Markup:
    return charts.bar(
        f"{row.stage}: {row.rows} rows kept, {row.dropped_rows} dropped", row.rows, row.dropped_rows, largest
    )


def _outcome_bar(title: str, outcomes: Sequence[tuple[str, int]]) -> Markup:
    told = ", ".join(f"{name} {number}" for name, number in outcomes)
    return charts.stack(f"{title}: {told}", [charts.BarPart(name, number) for name, number in outcomes])


def _by_tier(responders: Sequence[ResponderSummary]) -> Iterator[tuple[int, Iterator[ResponderSummary]]]:
    return itertools.groupby(responders, key=lambda responder: responder.tier)


def _curves(report: Report) -> Iterator[TrainingCurve]:
    """The training curves for which there are numbers."""
    reward = _series(report, "reward")
    yield from _of_reward_model(report)
    if reward.points:
        svg = charts.curves("Reward over training steps", [reward])
        yield TrainingCurve("Reward", "of the sampled answers", svg, (), f"{_closing(reward):.3g}".replace("-", "−"))
    else:  # PPO's loss is not informative
        yield from _of_pairs(report, "loss", "Loss", "", floor=0.0)
    yield from _of_pairs(report, "accuracy", "Accuracy", "pairs that are ranked correctly", floor=0.5, ceiling=1.0)
    yield from _seen_on_the_way(report)
    chosen, rejected = _series(report, "chosen_reward"), _series(report, "rejected_reward", dashed=True)
    if chosen.points and rejected.points:
        svg = charts.curves("Rewards of chosen and rejected answers over training steps", [chosen, rejected])
        closing = f"{_closing(chosen):.3g} and {_closing(rejected):.3g}".replace("-", "−")
        note = "how much more probable an answer has become since the start"
        yield TrainingCurve("Rewards", note, svg, ("chosen", "rejected"), closing)
    kl = _series(report, "kl")
    if kl.points:
        svg = charts.curves("KL of the reference over training steps", [kl])
        by_data = "estimated on the answers of the data: negative if these have become more probable"
        note = f"in nats per answer, {'of the sampled answers' if reward.points else by_data}"
        yield TrainingCurve("Distance from the reference", note, svg, (), f"{_closing(kl):.3g}".replace("-", "−"))


def _of_reward_model(report: Report) -> Iterator[TrainingCurve]:
    taught = _series(report, f"{REWARD_MODEL}accuracy")
    if taught.points:
        svg = charts.curves("Accuracy of the reward model over its own steps", [taught], floor=0.5, ceiling=1.0)
        unseen = f", of held-out pairs {formatting.percent(report.in_order.value)}" if report.in_order else ""
        yield TrainingCurve(
            "Reward model", f"pairs that are ranked correctly{unseen}", svg, (), formatting.percent(_closing(taught))
        )


def _of_pairs(
    report: Report, key: str, title: str, note: str, floor: float, ceiling: float | None = None
) -> Iterator[TrainingCurve]:
    """A metric of the training pairs over the steps, with the same metric of the held-out pairs."""
    taught, held_out = _series(report, key), _series(report, f"held_out_{key}", dashed=True)
    if taught.points:
        lines = [taught, held_out] if held_out.points else [taught]
        svg = charts.curves(f"{title} over training steps", lines, floor, ceiling)
        names = ("training", "held out") if held_out.points else ()
        ends = [_closing(taught), *(value for _, value in held_out.points[-1:])]
        told = [f"{end:.3g}" if ceiling is None else formatting.percent(end) for end in ends]
        yield TrainingCurve(title, note, svg, names, " and ".join(told))


def _seen_on_the_way(report: Report) -> Iterator[TrainingCurve]:
    unsafe, refused = _series(report, "unsafe_rate"), _series(report, "over_refusal", dashed=True)
    if unsafe.points:
        lines = [unsafe, refused] if refused.points else [unsafe]
        title = " and ".join(("Unsafe rate", "over-refusal")[: len(lines)]) + " over training steps"
        svg = charts.curves(title, lines, floor=0.0, ceiling=1.0)
        last = " and ".join(formatting.percent(series.points[-1][1]) for series in lines)
        note = f"{report.looked[0]} harmful and {report.looked[1]} harmless validation questions"
        if not refused.points:
            note = f"unsafe answers to {report.looked[0]} validation questions, of which none is known to be harmless"
        yield TrainingCurve("Validation", note, svg, ("unsafe", "over-refusal") if refused.points else (), last)


def _series(report: Report, key: str, dashed: bool = False) -> charts.LineSeries:
    points = [(float(each.step), each.value) for each in report.curves if each.name == key]
    return charts.LineSeries(key, [point for point in points if math.isfinite(point[1])], dashed)


def _closing(series: charts.LineSeries) -> float:
    """The mean over the last tenth of the steps; the last step alone is too noisy."""
    last = series.points[-max(1, len(series.points) // 10) :]
    return math.fsum(value for _, value in last) / len(last)


_NOT_MEASURED = Estimate(math.nan, 0, math.nan, math.nan)
