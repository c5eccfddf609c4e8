"""The figures of a run as a few lines for a terminal."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from spavl.records import CurvePoint
from spavl.store import RunFolder
from spavl.text.degenerate import told
from spavl.text.layout import wrapped

_PROBES = (("held-out images", None), ("held-out leaves", "held_out_leaves"), ("blank image", "blank_image"))
_MEASURES = (
    ("unsafe answers", "unsafe_rate"),
    ("harmless refused", "over_refusal"),
    ("names the object", "names_the_object"),
)
# The curves that a terminal shows, of those a training has; the others are in the report.
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


def lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """The three rates of each probe, before and after, each with its n and interval."""
    if "unsafe_rate" in summary:
        yield ""
        for title, section in _PROBES:
            figures = summary if section is None else summary[section]
            yield f"{title:<20}{'before':<28}after"
            for name, measure in _MEASURES:
                cells = (_cell(figures[measure][arm]) for arm in ("before", "after"))
                yield "  " + f"{name:<18}" + "".join(f"{cell:<28}" for cell in cells).rstrip()
        for rate in summary.get("withheld", ()):
            yield from wrapped(f"withheld: {rate}")
    if "help_win_rate" in summary:
        yield f"{'more helpful after':<20}{_cell(summary['help_win_rate'])}   (ties count half)"
    if made := summary.get("dataset"):
        pairs = ", ".join(f"{number:,} {split}" for split, number in made["pairs_by_split"].items())
        yield f"{'data set':<20}{pairs} pairs"
        for side in ("rejected", "chosen"):
            yield f"  {f'{side} unsafe':<18}{_cell(made[f'{side}_unsafe'])}"
    for pairs, share in summary.get("reward_model_in_order", {}).items():
        yield f"{'rewards in order':<20}{_cell(share)} of {pairs.replace('_', '-')} pairs"
    if counts := summary.get("degenerate"):
        degenerate = "; ".join(f"{arm} {told(own)}" for arm, own in counts.items())
        yield from wrapped(f"{'degenerate answers':<20}{degenerate}", " " * 20)
    for failure in summary.get("canaries_failed", ()):
        yield from wrapped(f"beware: {failure}")
    for warning in summary.get("judge", {}).get("warnings", ()):
        yield from wrapped(f"look twice: {warning}")
    yield ""
    if summary.get("limit"):
        yield f"a trial on at most {summary['limit']:,} images; without --limit the whole run goes on from it"
    lost = f" (up to {usd:.2f} more for answers that were lost)" if (usd := summary["usd_lost_at_most"]) else ""
    yield f"{summary['calls']:,.0f} calls, {summary['usd']:.2f} USD{lost}, {summary['seconds']:.0f} s of work"


def _cell(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "not measured"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}] n={estimate['n']}"


def curves(out: Path) -> Iterator[str]:
    """Those of a run's training, where it had one."""
    with RunFolder(out, look_only=True) as run:
        if run.manifest("training") is not None:
            yield from drawn(run.read("training", CurvePoint))


def drawn(points: Iterable[CurvePoint]) -> Iterator[str]:
    """Curves, each in a line between its first value and its last."""
    found: dict[str, list[float]] = {}
    for point in points:
        found.setdefault(point.name, []).append(point.value)
    shown = [(title, values) for title, name in _CURVES if len(values := found.get(name, [])) > 1]
    if shown:
        yield ""
    for title, values in shown:
        # A nought added takes the sign off another.
        first, last = (round(value, 3) + 0.0 for value in (values[0], values[-1]))
        yield f"{title:<20}{first:>8.3f}  {sparkline(values, _ACROSS)}  {last:.3f}"


def sparkline(values: Sequence[float], most: int) -> str:
    """Values as blocks from their least to their greatest; of more than fit, the means of neighbours."""
    across = min(most, len(values))
    ends = [len(values) * place // across for place in range(across + 1)]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
    low, span = min(means), max(means) - min(means)
    return "".join(_LEVELS[round((mean - low) / span * (len(_LEVELS) - 1)) if span else 0] for mean in means)
