"""A comparison of two models as lines for a terminal."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spavl.evaluation.report.tables import TITLES
from spavl.report.estimates import estimate
from spavl.report.formatting import p_value
from spavl.statistics import ALPHA, Estimate
from spavl.text.layout import aligned, wrapped


def lines(results: Mapping[str, Any]) -> Iterator[str]:
    before, after = results["before"]["model"], results["after"]["model"]
    always = list(dict.fromkeys(name for line in results["lines"] for name in line["always"]))
    rest = ["difference", "n", "p", "p, Holm", "only first", "only second"]
    rows = [["", before, after, *always, *rest]]
    rows += [_row(line, always) for line in results["lines"]]
    # Where they do not fit side by side: the rates, how far they lie apart, and on how many items each is alone.
    yield from aligned(rows, starts=(1, len(rows[0]) - len(rest), len(rows[0]) - 2))
    yield from (f"beware: {told}" for told in results["canaries"])
    yield from (f"withheld: {rate}" for rate in results["withheld"])
    yield from (f"look twice: they were asked otherwise: {how}" for how in results["asked_otherwise"])
    for win_rate in results["contests"]:
        if estimate(win_rate["rate"]):
            yield from (f"  {line}" for line in wrapped(_comparisons(win_rate)))
    for judge, moved in results["drift"].items():
        if moved["moved"]:
            yield f"look twice: {judge} judges {len(moved['now_other'])} anchors otherwise than in the first evaluation"
    if results["leaves"]:
        yield f"  {_leaves(results['leaves'])} (Holm over the leaves of a rate)"
    counted = Counter((each["benchmark"], each["told"], each["better"]) for each in results["changes"])
    for (benchmark, told, better), number in sorted(counted.items()):
        yield f"  {number:,} items of {benchmark} became {'better' if better else 'worse'} ({TITLES[told]})"


def _leaves(leaves: Sequence[Mapping[str, Any]]) -> str:
    """How many leaves changed clearly, of those that have items enough to show it."""
    clear = sum(leaf["p_holm"] <= ALPHA for leaf in leaves)
    able = sum(leaf["could_be_clear"] for leaf in leaves)
    if not able:
        return f"none of {len(leaves):,} leaves has items enough to show a change, however great"
    small = f"; {len(leaves) - able:,} more have too few items to show a change" if able < len(leaves) else ""
    return f"{clear:,} of {able:,} leaves changed clearly{small}"


def _row(line: Mapping[str, Any], always: Sequence[str]) -> list[str]:
    gap = estimate(line["difference"]) or Estimate(0, 0, 0, 0)
    return [
        f"{line['benchmark']}, {TITLES[line['told']]}",
        _per_cent(estimate(line["before"])),
        _per_cent(estimate(line["after"])),
        *(_per_cent(estimate(line["always"].get(name))) for name in always),
        f"{100 * gap.value:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]",
        f"{gap.n:,}",
        p_value(line["p"]),
        p_value(line["p_holm"]),
        f"{line['against_only']:,}",
        f"{line['model_only']:,}",
    ]


def _per_cent(rate: Estimate | None) -> str:
    return "?" if rate is None or rate.value != rate.value else f"{100 * rate.value:.1f}"


def _comparisons(win_rate: Mapping[str, Any]) -> str:
    rate, counts = estimate(win_rate["rate"]), win_rate["outcomes"]
    assert rate
    who = f"{win_rate['benchmark']}, {TITLES[win_rate['told']]} of {win_rate['model']} against {win_rate['against']}"
    told = f"{_per_cent(rate)} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
    p = f"p = {p_value(win_rate['p'])}, with Holm {p_value(win_rate['p_holm'])} ({win_rate['test']})"
    return f"{who}: {told}, {counts['win']} wins, {counts['loss']} losses, {p}"
