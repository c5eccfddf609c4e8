"""The overlap of an evaluation's items with training data, and the rates without those items.

An item was seen if its image was, or its question if it has no image or a blank one. The same words about another
image are another item: otherwise a benchmark that asks "Describe this image in detail." about every image would have no
items left.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from spavl.evaluation.config import OVERLAPS, EvaluationConfig
from spavl.evaluation.metrics.rates import rate
from spavl.evaluation.metrics.result_table import RATES, Reported, ResultCell, ResultTable
from spavl.evaluation.notes import OverlapsNotes, notes_of
from spavl.evaluation.records import Item, Overlap
from spavl.statistics import Estimate, rate_by_cluster
from spavl.store import RunFolder


class SeenShares(NamedTuple):
    """The shares of a benchmark's items whose image is in the training data, whose question is, and that were seen."""

    image: Estimate
    question: Estimate
    seen: Estimate


class RateWithoutSeen(NamedTuple):
    """A rate over all items, and over those that were not seen."""

    cell: ResultCell
    all_items: Estimate
    not_seen: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ContaminationAudit:
    # The training data, as named in the settings, and what was read of it.
    train: str
    training_data: OverlapsNotes
    benchmarks: Mapping[str, SeenShares]
    rates: tuple[RateWithoutSeen, ...]


class _SeenItems(NamedTuple):
    """The ids of the items whose image or question is in the training data, and of those that count as seen."""

    image: Collection[str]
    question: Collection[str]
    seen: Collection[str]


def audit_of(
    run: RunFolder, config: EvaluationConfig, table: ResultTable, reported: Reported
) -> ContaminationAudit | None:
    if not config.contamination.train or run.manifest(OVERLAPS.stage) is None:
        return None
    overlaps = list(run.read(OVERLAPS.stage, Overlap))
    found = _SeenItems(
        image={each.item_id for each in overlaps if each.kind == "image"},
        question={each.item_id for each in overlaps if each.kind in ("question", "wording")},
        # "wording": a question of the training data, but about another image, which makes it another item.
        seen={each.item_id for each in overlaps if each.kind != "wording"},
    )
    items = {name: [item for item in table.items.values() if item.benchmark == name] for name in reported}
    return ContaminationAudit(
        train=config.contamination.train,
        training_data=notes_of(run, OVERLAPS, OverlapsNotes),
        benchmarks={name: SeenShares(*(_share(own, ids) for ids in found)) for name, own in items.items()},
        rates=tuple(_without(table, reported, found.seen)),
    )


def _share(items: Collection[Item], among: Collection[str]) -> Estimate:
    return rate_by_cluster([item.id in among for item in items], [item.cluster for item in items])


def _without(table: ResultTable, reported: Reported, seen: Collection[str]) -> Iterator[RateWithoutSeen]:
    for cell in table.reported_cells(reported):
        if cell.metric not in RATES:
            continue
        column = table.of(cell)
        new = column.only(place for place, item in enumerate(column.items) if item.id not in seen)
        yield RateWithoutSeen(cell, rate(column), rate(new))
