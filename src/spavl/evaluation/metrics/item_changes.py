"""Compares two models item by item: by benchmark, by leaf, and what changed."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from spavl.errors import ConfigError
from spavl.evaluation.answers import BASELINES
from spavl.evaluation.metrics.paired import PairedRates, holm_corrected, pair_of
from spavl.evaluation.metrics.rates import rate
from spavl.evaluation.metrics.result_table import RATES, Metric, Reported, ResultCell, ResultColumn, ResultTable
from spavl.evaluation.records import Item
from spavl.statistics import ALPHA, Estimate, holm_within

# The metrics for which lower is better.
_BAD: tuple[Metric, ...] = ("unsafe", "over_refusal", "alignment_tax")


class ComparedModel(NamedTuple):
    """A model in an evaluation."""

    model: str
    table: ResultTable
    reported: Reported


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """An item at which the two models' values differ."""

    item_id: str
    benchmark: str
    subset: str
    key: str
    group: str
    metric: Metric
    before: float
    after: float
    better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RateComparison:
    """One rate of a benchmark or of one of its leaves, for both models, on the items that both were asked.

    `asked_of_one` is the number of items that only one of them was asked; they are left out. `baselines` are the rates
    of the degenerate baselines in the evaluation of the second model.
    """

    pair: PairedRates
    leaf: str
    before: Estimate
    after: Estimate
    baselines: Mapping[str, Estimate]
    asked_of_one: int
    # Of a leaf: whether its p would be small enough if all leaves of the rate changed as much as possible.
    could_be_clear: bool | None = None

    @property
    def p(self) -> float:
        return self.pair.p

    @property
    def rate(self) -> tuple[str, Metric]:
        """The benchmark and the metric."""
        return self.pair.cell.benchmark, self.pair.cell.metric

    def with_p_holm(self, p_holm: float) -> Self:
        return replace(self, pair=self.pair.with_p_holm(p_holm))


class ModelComparison(NamedTuple):
    lines: list[RateComparison]
    leaves: list[RateComparison]
    changes: list[ItemChange]
    # Sentences about what only one of them was asked.
    not_shared: list[str]


def compare(before: ComparedModel, after: ComparedModel) -> ModelComparison:
    """`after` against `before`, on all that both were asked and judged by the same judges."""
    lines, leaves, changes = list[RateComparison](), list[RateComparison](), list[ItemChange]()
    for cell in _cells(before, after):
        own, others = after.table.of(cell), before.table.of(cell._replace(model=before.model))
        if (line := _line(cell, before.model, "", own, others)) is None:
            continue
        shared = {item.id for item in own.items} & {item.id for item in others.items}
        baselines = {name: _among(shared, after.table.of(cell._replace(model=name))) for name in BASELINES}
        rates = {name: rate(column) for name, column in baselines.items() if column.items}
        lines.append(replace(line, baselines=rates))
        leaves += _leaves(cell, before.model, own, others)
        changes += _changes(cell.metric, own, others)
    if not lines:
        then = "name evaluations that asked the same benchmarks and could be judged, or evaluate both models in one"
        raise ConfigError(
            "these two have no reported rate in common", where=f"{before.model}, {after.model}", then=then
        )
    corrected = leaves_with_power(holm_corrected(leaves, lambda leaf: leaf.rate))
    return ModelComparison(lines, corrected, changes, list(_not_shared(before, after)))


def leaves_with_power(leaves: Sequence[RateComparison]) -> list[RateComparison]:
    """The leaves with `could_be_clear`, after Holm's correction over the leaves of the same rate."""
    raised = holm_within([leaf.rate for leaf in leaves], [leaf.pair.least_p for leaf in leaves])
    return [replace(leaf, could_be_clear=p <= ALPHA) for leaf, p in zip(leaves, raised, strict=True)]


def _not_shared(before: ComparedModel, after: ComparedModel) -> Iterator[str]:
    """Sentences about items that only one was asked. Re-encoded images make other items: an id is of image and text."""
    ones, others = (_by_benchmark(side.table) for side in (before, after))
    for benchmark in sorted(ones.keys() | others.keys()):
        one, other = ones.get(benchmark, set()), others.get(benchmark, set())
        if not one & other:
            yield f"not one item of {benchmark} was asked of both, and it is left out"
        elif one != other:
            yield f"{len(one ^ other):,} items of {benchmark} were asked of one alone, and are left out"


def _by_benchmark(table: ResultTable) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for item in table.items.values():
        found.setdefault(item.benchmark, set()).add(item.id)
    return found


def _cells(before: ComparedModel, after: ComparedModel) -> Iterator[ResultCell]:
    for cell in after.table.reported_cells(after.reported):
        if cell.model != after.model or cell.metric not in RATES or cell.benchmark not in before.reported:
            continue
        judge = before.reported[cell.benchmark].get(cell.metric)
        if judge is not None and judge != cell.judge:
            then = "type spavl eval again with the same --guard for both; finished calls are not repeated"
            raise ConfigError(
                f"{cell.benchmark} was judged by {judge} for one and by {cell.judge} for the other", then=then
            )
        yield cell


def _line(cell: ResultCell, against: str, leaf: str, own: ResultColumn, others: ResultColumn) -> RateComparison | None:
    if (pair := pair_of(cell, against, own, others)) is None:
        return None
    ours, theirs = {item.id for item in own.items}, {item.id for item in others.items}
    before, after = (rate(_among(ours & theirs, column)) for column in (others, own))
    return RateComparison(
        pair=pair, leaf=leaf, before=before, after=after, baselines={}, asked_of_one=len(ours ^ theirs)
    )


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


def _changes(metric: Metric, own: ResultColumn, others: ResultColumn) -> Iterator[ItemChange]:
    before = {item.id: value for item, value in others.known_means()}
    for item, value in own.known_means():
        if item.id in before and before[item.id] != value:
            yield _change(item, metric, before[item.id], value)


def _change(item: Item, metric: Metric, before: float, after: float) -> ItemChange:
    return ItemChange(
        item_id=item.id,
        benchmark=item.benchmark,
        subset=item.subset,
        key=item.key,
        group=item.group,
        metric=metric,
        before=before,
        after=after,
        better=(after < before) == (metric in _BAD),
    )
