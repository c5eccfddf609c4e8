"""The overlap of an evaluation's items with training data, and the rates without those items.

An item was seen if its image was, or its question if it has no image or a blank one. The same words about another
image are another item: otherwise a benchmark that asks "Describe this image in detail." about every image would have no
items left.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from spavl.evaluation.config import OVERLAPS, EvaluationConfig
from spavl.evaluation.metrics.rates import rate
from spavl.evaluation.metrics.result_table import RATES, Reported, ResultCell, ResultTable
from spavl.evaluation.notes import OverlapsNotes, notes_of
from spavl.evaluation.records import Item, Overlap, OverlapKind
from spavl.statistics import Estimate, rate_with_unknown
from spavl.store import RunFolder


class SeenShares(NamedTuple):
    """The shares of a benchmark's items whose image is in the training data, whose question is, and that were seen."""

    image: Estimate
    question: Estimate
    seen: Estimate


class RateWithoutSeen(NamedTuple):
    """A rate over all items, and over those that are known not to have been seen."""

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


class _SeenItem(NamedTuple):
    """Whether an item's image is in the training data, its question, and whether it was seen; None where unknown."""

    image: bool | None
    question: bool | None
    seen: bool | None


def audit_of(
    run: RunFolder, config: EvaluationConfig, table: ResultTable, reported: Reported
) -> ContaminationAudit | None:
    if not config.contamination.train or run.manifest(OVERLAPS.stage) is None:
        return None
    notes = notes_of(run, OVERLAPS, OverlapsNotes)
    kinds: dict[str, set[OverlapKind]] = {}
    for overlap in run.read(OVERLAPS.stage, Overlap):
        kinds.setdefault(overlap.item_id, set()).add(overlap.kind)
    found = {item.id: _seen_item(item, kinds.get(item.id, set()), notes) for item in table.items.values()}
    items = {name: [item for item in table.items.values() if item.benchmark == name] for name in reported}
    return ContaminationAudit(
        train=config.contamination.train,
        training_data=notes,
        benchmarks={name: _shares(own, [found[item.id] for item in own]) for name, own in items.items()},
        rates=tuple(_without(table, reported, found)),
    )


def _seen_item(item: Item, kinds: Set[OverlapKind], notes: OverlapsNotes) -> _SeenItem:
    is_shown = bool(item.blob) and item.blob not in notes.blank
    image = "image" in kinds or (None if is_shown and "image" in notes.not_compared else False)
    # "wording": a question of the training data, but about another image, which makes it another item.
    question = bool(kinds & {"question", "wording"}) or (None if "question" in notes.not_compared else False)
    if image or "question" in kinds:
        return _SeenItem(image, question, True)
    return _SeenItem(image, question, image if is_shown else question)


def _shares(items: Sequence[Item], found: Sequence[_SeenItem]) -> SeenShares:
    clusters = [item.cluster for item in items]
    columns = ([getattr(each, name) for each in found] for name in _SeenItem._fields)
    return SeenShares(*(rate_with_unknown(values, clusters) for values in columns))


def _without(table: ResultTable, reported: Reported, found: Mapping[str, _SeenItem]) -> Iterator[RateWithoutSeen]:
    """Each rate without the items that were seen, and without those of which that is unknown."""
    for cell in table.reported_cells(reported):
        if cell.metric not in RATES:
            continue
        column = table.of(cell)
        new = column.only(place for place, item in enumerate(column.items) if found[item.id].seen is False)
        yield RateWithoutSeen(cell, rate(column), rate(new))
