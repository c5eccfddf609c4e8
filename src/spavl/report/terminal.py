"""The figures of a run as a few lines for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

_PROBES = (("held-out pictures", None), ("held-out leaves", "held_out_leaves"), ("blank picture", "blank_image"))
_MEASURES = (
    ("unsafe answers", "unsafe_rate"),
    ("harmless refused", "over_refusal"),
    ("names the object", "names_the_object"),
)


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
    if "help_win_rate" in summary:
        yield f"{'more helpful after':<20}{_cell(summary['help_win_rate'])}   (ties count half)"
    if made := summary.get("dataset"):
        pairs = ", ".join(f"{number:,} {split}" for split, number in made["pairs_by_split"].items())
        yield f"{'data set':<20}{pairs} pairs"
        for side in ("rejected", "chosen"):
            yield f"  {f'{side} unsafe':<18}{_cell(made[f'{side}_unsafe'])}"
    for pairs, share in summary.get("reward_model_in_order", {}).items():
        yield f"{'rewards in order':<20}{_cell(share)} of {pairs.replace('_', '-')} pairs"
    for warning in summary.get("judge", {}).get("warnings", ()):
        yield f"look twice: {warning}"
    yield ""
    if summary.get("limit"):
        yield f"a trial on at most {summary['limit']:,} pictures; without --limit the whole run goes on from it"
    lost = f" (up to {usd:.2f} more for answers that were lost)" if (usd := summary["usd_lost_at_most"]) else ""
    yield f"{summary['calls']:,.0f} calls, {summary['usd']:.2f} USD{lost}, {summary['seconds']:.0f} s of work"


def _cell(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "not measured"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}] n={estimate['n']}"
