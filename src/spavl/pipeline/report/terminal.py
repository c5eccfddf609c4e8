"""The results of a run as a few lines for a terminal."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from spavl.pipeline.report.run_summary import RateSet, RunSummary
from spavl.records import CurvePoint
from spavl.statistics import Estimate
from spavl.store import RunFolder
from spavl.text.degenerate import table_in_words
from spavl.text.layout import wrapped_lines
from spavl.training.config import SPEC as TRAINING

# The training curves that a terminal shows; the report shows all.
_CURVES = (
    ("loss", "loss"),
    ("held-out loss", "held_out_loss"),
    ("accuracy", "accuracy"),
    ("held-out accuracy", "held_out_accuracy"),
    ("margin", "margin"),
    ("reward", "reward"),
    ("KL (nats)", "kl"),
    ("unsafe answers", "unsafe_rate"),
    ("harmless refused", "over_refusal"),
)
_LEVELS, _ACROSS = "▁▂▃▄▅▆▇█", 40


def lines(summary: RunSummary) -> Iterator[str]:
    """The rates of each question set before and after, with n and interval, then data set, warnings and cost."""
    if summary.unsafe_rate:
        yield ""
        sets = (("held-out images", summary), ("held-out leaves", summary.held_out_leaves))
        for title, rates in (*sets, ("blank image", summary.blank_image)):
            yield from _rates(title, rates) if rates else ()
        for rate in summary.withheld:
            yield from wrapped_lines(f"withheld: {rate}")
    if summary.help_win_rate:
        yield f"{'more helpful after':<20}{_cell(summary.help_win_rate)}   (ties count half)"
    if summary.dataset:
        pairs = ", ".join(f"{number:,} {split}" for split, number in summary.dataset.pairs_by_split.items())
        yield f"{'data set':<20}{pairs} pairs"
        yield f"  {'rejected unsafe':<18}{_cell(summary.dataset.rejected_unsafe)}"
        yield f"  {'chosen unsafe':<18}{_cell(summary.dataset.chosen_unsafe)}"
    for row in summary.privacy or ():
        yield from wrapped_lines(f"{'personal data':<20}{row.as_line()}", " " * 20)
    if order := summary.reward_model_in_order:
        for name, share in (("taught", order.taught), ("held-out", order.held_out)):
            if share:
                yield f"{'rewards in order':<20}{_cell(share)} of {name} pairs"
    if summary.degenerate:
        degenerate = "; ".join(f"{arm} {table_in_words(own)}" for arm, own in summary.degenerate.items())
        yield from wrapped_lines(f"{'degenerate answers':<20}{degenerate}", " " * 20)
    for failure in summary.canaries_failed or ():
        yield from wrapped_lines(f"warning: {failure}")
    for warning in summary.judge_bias.warnings if summary.judge_bias else ():
        yield from wrapped_lines(f"warning: {warning}")
    yield ""
    yield from _cost(summary)


def _rates(title: str, rates: RateSet) -> Iterator[str]:
    yield f"{title:<20}{'before':<28}after"
    for name, rate in (
        ("unsafe answers", rates.unsafe_rate),
        ("harmless refused", rates.over_refusal),
        ("names the object", rates.names_the_object),
    ):
        cells = (_cell(each) for each in (rate.before, rate.after)) if rate else ()
        yield "  " + f"{name:<18}" + "".join(f"{cell:<28}" for cell in cells).rstrip()


def _cost(summary: RunSummary) -> Iterator[str]:
    if summary.limit:
        yield f"a subset of at most {summary.limit:,} images; without --limit, the run continues with all of them"
    lost = f" (up to {usd:.2f} more for answers that were lost)" if (usd := summary.usd_lost_at_most) else ""
    calls, paid, seconds = summary.calls or 0, summary.usd or 0.0, summary.seconds or 0.0
    yield f"{calls:,} calls, {paid:.2f} USD{lost}, {seconds:.0f} s of work"


def _cell(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.value):
        return "not measured"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}] n={estimate.n}"


def curves(out: Path) -> Iterator[str]:
    """The training curves of a run; nothing if it did not train."""
    with RunFolder(out, look_only=True) as run:
        if run.manifest(TRAINING.stage) is not None:
            yield from curve_lines(run.read(TRAINING.stage, CurvePoint))


def curve_lines(points: Iterable[CurvePoint]) -> Iterator[str]:
    """Each curve as a sparkline between its first and its last value."""
    found: dict[str, list[float]] = {}
    for point in points:
        if math.isfinite(point.value):
            found.setdefault(point.name, []).append(point.value)
    shown = [(title, values) for title, name in _CURVES if len(values := found.get(name, [])) > 1]
    if shown:
        yield ""
    for title, values in shown:
        # Adding 0.0 turns -0.0 into 0.0.
        first, last = (round(value, 3) + 0.0 for value in (values[0], values[-1]))
        yield f"{title:<20}{first:>8.3f}  {sparkline(values, _ACROSS)}  {last:.3f}"


def sparkline(values: Sequence[float], most: int) -> str:
    """Values as block characters, scaled from minimum to maximum; if they do not fit, neighbours are averaged."""
    across = min(most, len(values))
    ends = [len(values) * place // across for place in range(across + 1)]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
    low, span = min(means), max(means) - min(means)
    return "".join(_LEVELS[round((mean - low) / span * (len(_LEVELS) - 1)) if span else 0] for mean in means)
