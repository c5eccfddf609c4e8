"""One model set against another, item by item: by benchmark, by leaf, and what changed."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.answers import ALWAYS
from spavl.evaluation.metrics.paired import PairedRates, set_against
from spavl.evaluation.metrics.rates import rate
from spavl.evaluation.metrics.result_table import RATES, Reported, ResultCell, ResultColumn, ResultTable, Told
from spavl.evaluation.records import Item
from spavl.statistics import Estimate

# Less of these is better.
_BAD: tuple[Told, ...] = ("unsafe", "over_refusal", "alignment_tax")


class ComparedModel(NamedTuple):
    """A model in an evaluation."""

    model: str
    sheet: ResultTable
    reported: Reported


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """An item at which the two models' values differ."""

    item: Item
    told: Told
    before: float
    after: float

    @property
    def better(self) -> bool:
        return (self.after < self.before) == (self.told in _BAD)

    def as_json(self) -> dict[str, Any]:
        return {
            "item_id": self.item.id,
            "benchmark": self.item.benchmark,
            "subset": self.item.subset,
            "key": self.item.key,
            "group": self.item.group,
            "told": self.told,
            "before": self.before,
            "after": self.after,
            "better": self.better,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RateComparison:
    """One rate of a benchmark or of one of its leaves, for both models, on the items that both were asked.

    `apart` is how many were asked of one of them alone, and count nowhere. `always` are the rates of those that always
    say the same, in the evaluation of the second model.
    """

    pair: PairedRates
    leaf: str
    before: Estimate
    after: Estimate
    always: Mapping[str, Estimate]
    apart: int

    def as_json(self) -> dict[str, Any]:
        return {
            **self.pair.as_json(),
            "leaf": self.leaf,
            "before": self.before.as_json(),
            "after": self.after.as_json(),
            "always": {name: own.as_json() for name, own in self.always.items()},
            "apart": self.apart,
        }


class ModelComparison(NamedTuple):
    lines: list[RateComparison]
    leaves: list[RateComparison]
    changes: list[ItemChange]
    # What the two were not both asked, in words.
    apart: list[str]


def compare(before: ComparedModel, after: ComparedModel) -> ModelComparison:
    """`after` against `before`, on all that both were asked and judged by the same judges."""
    lines, leaves, changes = list[RateComparison](), list[RateComparison](), list[ItemChange]()
    for cell in _cells(before, after):
        own, others = after.sheet.of(cell), before.sheet.of(cell._replace(model=before.model))
        if (line := _line(cell, before.model, "", own, others)) is None:
            continue
        shared = {item.id for item in own.items} & {item.id for item in others.items}
        always = {name: _among(shared, after.sheet.of(cell._replace(model=name))) for name in ALWAYS}
        lines.append(replace(line, always={name: rate(column) for name, column in always.items() if column.items}))
        leaves += _leaves(cell, before.model, own, others)
        changes += _changes(cell.told, own, others)
    if not lines:
        then = "name evaluations that asked the same benchmarks and could be judged, or evaluate both models in one"
        raise ConfigError(
            "these two have no rate in common that is told", where=f"{before.model}, {after.model}", then=then
        )
    return ModelComparison(lines, leaves, changes, list(_apart(before, after)))


def _apart(before: ComparedModel, after: ComparedModel) -> Iterator[str]:
    """No item in common may mean no more than images that were saved anew: an item is what is shown and asked."""
    ones, others = (_by_benchmark(side.sheet) for side in (before, after))
    for benchmark in sorted(ones.keys() | others.keys()):
        one, other = ones.get(benchmark, set()), others.get(benchmark, set())
        if not one & other:
            yield f"not one item of {benchmark} was asked of both, and it is left out"
        elif one != other:
            yield f"{len(one ^ other):,} items of {benchmark} were asked of one alone, and are left out"


def _by_benchmark(sheet: ResultTable) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for item in sheet.items.values():
        found.setdefault(item.benchmark, set()).add(item.id)
    return found


def _cells(before: ComparedModel, after: ComparedModel) -> Iterator[ResultCell]:
    for cell in after.sheet.reported(after.reported):
        if cell.model != after.model or cell.told not in RATES or cell.benchmark not in before.reported:
            continue
        judge = before.reported[cell.benchmark].get(cell.told)
        if judge is not None and judge != cell.judge:
            then = "judge both alike: type spavl eval again with the same --guard, which asks no model anew"
            raise ConfigError(
                f"{cell.benchmark} was judged by {judge} for one and by {cell.judge} for the other", then=then
            )
        yield cell


def _line(cell: ResultCell, against: str, leaf: str, own: ResultColumn, others: ResultColumn) -> RateComparison | None:
    if (pair := set_against(cell, against, own, others)) is None:
        return None
    ours, theirs = {item.id for item in own.items}, {item.id for item in others.items}
    before, after = (rate(_among(ours & theirs, column)) for column in (others, own))
    return RateComparison(pair=pair, leaf=leaf, before=before, after=after, always={}, apart=len(ours ^ theirs))


def _among(items: Set[str], column: ResultColumn) -> ResultColumn:
    return column.only(place for place, item in enumerate(column.items) if item.id in items)


def _leaves(cell: ResultCell, against: str, own: ResultColumn, others: ResultColumn) -> Iterator[RateComparison]:
    ours, theirs = _by_group(own), _by_group(others)
    for leaf in sorted(ours.keys() & theirs.keys()) if len(ours) > 1 else ():
        if line := _line(cell, against, leaf, ours[leaf], theirs[leaf]):
            yield line


def _by_group(column: ResultColumn) -> Mapping[str, ResultColumn]:
    places: dict[str, list[int]] = {}
    for place, item in enumerate(column.items):
        places.setdefault(item.group, []).append(place)
    return {group: column.only(own) for group, own in places.items()}


def _changes(told: Told, own: ResultColumn, others: ResultColumn) -> Iterator[ItemChange]:
    before = {item.id: value for item, value in others.known()}
    for item, value in own.known():
        if item.id in before and before[item.id] != value:
            yield ItemChange(item=item, told=told, before=before[item.id], after=value)
