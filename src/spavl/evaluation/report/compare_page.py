"""Lays out what changed from one model to another as one HTML file that loads nothing and runs nothing."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from spavl.evaluation.records import Item
from spavl.evaluation.report.page import environment, evaluation_style
from spavl.evaluation.report.samples import ShownAnswer, ShownItem, with_image
from spavl.store import RunFolder

# Of each rate of a benchmark, and of each direction.
_SHOWN_OF_EACH = 12


def render_comparison(
    results: Mapping[str, Any],
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
            style=evaluation_style(),
            shown=[
                (line, better, [with_image(run, sample) for sample in samples], number)
                for line, better, samples, number in _shown(results, items, before, after)
            ],
        )
    )
    return page


def _shown(
    results: Mapping[str, Any],
    items: Mapping[str, Item],
    before: Mapping[str, ShownAnswer],
    after: Mapping[str, ShownAnswer],
) -> Iterator[tuple[Mapping[str, Any], bool, list[ShownItem], int]]:
    """The first changes by id, worse ones first, with how many there are."""
    for line in results["lines"]:
        for better in (False, True):
            own = sorted(
                change["item_id"]
                for change in results["changes"]
                if (change["benchmark"], change["told"], change["better"]) == (line["benchmark"], line["told"], better)
            )
            chosen = [_sample(items[each], before[each], after[each]) for each in islice(own, _SHOWN_OF_EACH)]
            if chosen:
                yield line, better, chosen, len(own)


def _sample(item: Item, before: ShownAnswer, after: ShownAnswer) -> ShownItem:
    return ShownItem(
        benchmark=item.benchmark,
        group=item.group,
        wants=item.wants,
        question=item.question,
        blob=item.blob,
        image=None,
        said=(before, after),
    )
