"""Renders what changed from one model to another as one HTML file that loads no other file and runs no script."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from spavl.evaluation.metrics.item_changes import RateComparison
from spavl.evaluation.records import Item
from spavl.evaluation.report.page import environment, evaluation_style
from spavl.evaluation.report.samples import ShownAnswer, ShownItem, shown_item, with_image
from spavl.evaluation.results.comparison import ComparisonResults
from spavl.store import RunFolder

# How many items are shown of each rate of a benchmark, in each direction.
_SHOWN_OF_EACH = 12


class LeafTable(NamedTuple):
    """A rate of a benchmark with its leaves, and those that differ, with the smallest p first."""

    line: RateComparison
    leaves: list[RateComparison]
    moved: list[RateComparison]


class ShownChanges(NamedTuple):
    """The first changes of a rate in one direction, and how many there are."""

    line: RateComparison
    better: bool
    samples: list[ShownItem]
    number: int


def render_comparison(
    results: ComparisonResults,
    run: RunFolder,
    items: Mapping[str, Item],
    before: Mapping[str, ShownAnswer],
    after: Mapping[str, ShownAnswer],
) -> str:
    page: str = (
        environment()
        .get_template("compare.html")
        .render(
            results=results,
            leaf_tables=list(_leaf_tables(results)),
            style=evaluation_style(),
            shown=list(_first_changes(results, run, items, before, after)),
        )
    )
    return page


def _leaf_tables(results: ComparisonResults) -> Iterator[LeafTable]:
    for line in results.lines:
        if own := [leaf for leaf in results.leaves if leaf.rate == line.rate]:
            moved = [leaf for leaf in own if leaf.pair.difference.value != 0]
            yield LeafTable(line, own, sorted(moved, key=lambda leaf: leaf.p))


def _first_changes(
    results: ComparisonResults,
    run: RunFolder,
    items: Mapping[str, Item],
    before: Mapping[str, ShownAnswer],
    after: Mapping[str, ShownAnswer],
) -> Iterator[ShownChanges]:
    """The first changes by id, worse ones first."""
    for line in results.lines:
        for better in (False, True):
            own = sorted(
                change.item_id
                for change in results.changes
                if (change.benchmark, change.metric) == line.rate and change.better == better
            )
            chosen = [shown_item(items[each], (before[each], after[each])) for each in islice(own, _SHOWN_OF_EACH)]
            if chosen:
                yield ShownChanges(line, better, [with_image(run, sample) for sample in chosen], len(own))
