"""A comparison of two models as lines for a terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence

from spavl.evaluation.metrics.item_changes import RateComparison
from spavl.evaluation.metrics.win_rates import WinRate
from spavl.evaluation.report.tables import TITLES
from spavl.evaluation.results.comparison import ComparisonResults
from spavl.report.formatting import p_value
from spavl.statistics import ALPHA, Estimate
from spavl.text.layout import table_lines, wrapped_lines


def lines(results: ComparisonResults) -> Iterator[str]:
    baselines = list(dict.fromkeys(name for line in results.lines for name in line.baselines))
    rest = ["difference", "n", "p", "p, Holm", "only first", "only second"]
    rows = [["", results.before.model, results.after.model, *baselines, *rest]]
    rows += [_row(line, baselines) for line in results.lines]
    # A table that is too wide is split into the rates, the difference with its tests, and the items of only one model.
    yield from table_lines(rows, starts=(1, len(rows[0]) - len(rest), len(rows[0]) - 2))
    yield from (f"warning: {warning}" for warning in results.canaries)
    yield from (f"withheld: {rate}" for rate in results.withheld)
    yield from (f"warning: they were asked differently: {how}" for how in results.asked_otherwise)
    for win_rate in results.win_rates:
        yield from wrapped_lines(_win_rate(win_rate), indent="  ")
    for judge, drift in results.drift.items():
        if drift.moved:
            number = len(drift.judged_otherwise)
            yield f"warning: {judge} judges {number} gold answers differently from the first evaluation"
    if results.leaves:
        yield from wrapped_lines(f"{leaves_line(results.leaves)} (Holm over the leaves of a rate)", indent="  ")
    counted = Counter((each.benchmark, each.metric, each.better) for each in results.changes)
    for (benchmark, metric, better), number in sorted(counted.items()):
        yield f"  {number:,} items of {benchmark} became {'better' if better else 'worse'} ({TITLES[metric]})"


def leaves_line(leaves: Sequence[RateComparison]) -> str:
    """How many leaves changed clearly, of those that have enough items to show a change."""
    clear = sum(leaf.pair.p_holm <= ALPHA for leaf in leaves)
    able = sum(leaf.could_be_clear is True for leaf in leaves)
    if not able:
        return f"none of {len(leaves):,} leaves has enough items to show any change"
    small = f"; {len(leaves) - able:,} more have too few items to show a change" if able < len(leaves) else ""
    return f"{clear:,} of {able:,} leaves changed clearly{small}"


def _row(line: RateComparison, baselines: Sequence[str]) -> list[str]:
    gap, (benchmark, metric) = line.pair.difference, line.rate
    return [
        f"{benchmark}, {TITLES[metric]}",
        _with_interval(line.before),
        _with_interval(line.after),
        *(_with_interval(line.baselines.get(name)) for name in baselines),
        f"{100 * gap.value:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]",
        f"{gap.n:,}",
        p_value(line.p),
        p_value(line.pair.p_holm),
        f"{line.pair.against_only:,}",
        f"{line.pair.model_only:,}",
    ]


def _per_cent(rate: Estimate | None) -> str:
    return "?" if rate is None or rate.value != rate.value else f"{100 * rate.value:.1f}"


def _with_interval(rate: Estimate | None) -> str:
    shown = _per_cent(rate)
    return shown if rate is None or shown == "?" else f"{shown} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _win_rate(each: WinRate) -> str:
    who = f"{each.benchmark}, {TITLES[each.metric]} of {each.model} against {each.against}"
    rate = f"{_per_cent(each.rate)} [{100 * each.rate.low:.1f}, {100 * each.rate.high:.1f}]"
    p = f"p = {p_value(each.p)}, with Holm {p_value(each.p_holm)} ({each.test})"
    return f"{who}: {rate}, {each.wins} wins, {each.losses} losses, {p}"
