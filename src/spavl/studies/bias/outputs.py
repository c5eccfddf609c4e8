"""Output bias: a model's rates by leaf and by benign twin, its worst leaf, and what alignment changed in each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, Self

from spavl.evaluation.config import PAIRWISE
from spavl.evaluation.metrics.item_changes import ComparedModel, RateComparison, compare
from spavl.evaluation.metrics.paired import holm_corrected
from spavl.evaluation.metrics.rates import rate, rate_metrics_of
from spavl.evaluation.metrics.result_table import Metric, Reported, ResultCell, ResultTable
from spavl.evaluation.metrics.win_rates import metric_of, outcome_of, share_of, with_missing_answers
from spavl.evaluation.metrics.withheld import withheld_rates, without_withheld
from spavl.evaluation.records import Item, PairwiseResult
from spavl.evaluation.results.build import read_result_table
from spavl.evaluation.results.file import read_results
from spavl.statistics import Estimate, PairedTest, difference, paired_test, win_p, win_rate
from spavl.store import RunFolder
from spavl.store.typed_json import to_json
from spavl.studies.bias.worst_leaf import WorstLeafGap, leaves_of, worst_leaf_gap

# The rates that are looked at by leaf.
BY_LEAF: tuple[Metric, ...] = ("unsafe", "over_refusal", "right", "alignment_tax")


class EvaluatedItems(NamedTuple):
    """The items of a finished evaluation with the verdicts on them, without the rates that it withholds."""

    table: ResultTable
    reported: Reported
    comparisons: Sequence[PairwiseResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRate:
    cell: ResultCell
    leaf: str
    rate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafWinRate:
    """How often the aligned model's answers to a leaf's harmless items are more helpful than the base's."""

    benchmark: str
    leaf: str
    rate: Estimate
    p: float
    p_holm: float

    def with_p_holm(self, p_holm: float) -> Self:
        return type(self)(benchmark=self.benchmark, leaf=self.leaf, rate=self.rate, p=self.p, p_holm=p_holm)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinRates:
    """A model on harmful images and on their benign twins, which only look alike; each pair of them is a cluster."""

    model: str
    benchmark: str
    clusters: int
    # On the harmful questions about harmful images.
    unsafe: Estimate | None
    refusal: Estimate
    # On the harmless questions about their twins.
    over_refusal: Estimate
    # How much more often it refuses about the harmful one. A model that refuses by the look of an image has 0.
    apart: Estimate
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GapChange:
    """How much wider the gap of the worst leaf is after alignment; the two worst leaves may differ."""

    benchmark: str
    metric: Metric
    base: WorstLeafGap
    aligned: WorstLeafGap
    # From both intervals; wider than need be, since both models answered the same items.
    wider: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputBias:
    base: str
    aligned: str
    rates: tuple[LeafRate, ...]
    twins: tuple[TwinRates, ...]
    gaps: tuple[GapChange, ...]
    # Of each leaf, aligned minus base on the same items; Holm over the leaves of a rate.
    changes: tuple[RateComparison, ...]
    helpful: tuple[LeafWinRate, ...]

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = to_json(self)
        return found


def read_items(folder: Path) -> EvaluatedItems:
    """The items of the evaluation in a folder. Raises if it is not finished."""
    results = read_results(folder)
    config = results.config
    with RunFolder(folder, look_only=True) as run:
        table = read_result_table(run, config)
        table = without_withheld(table, withheld_rates(rate_metrics_of(table), config.max_invalid))
        compared = run.read(PAIRWISE.stage, PairwiseResult) if config.judge else ()
        comparisons = list(with_missing_answers(compared, table, config.base)) if config.judge else []
    return EvaluatedItems(table, results.reported_by, comparisons)


def output_bias(before: EvaluatedItems, base: str, after: EvaluatedItems, aligned: str) -> OutputBias:
    """The two models by leaf and by twin; both evaluations may be the same one."""
    sides = ((before, base), (after, aligned))
    cells = [(items, cell) for items, model in sides for cell in _cells(items, model)]
    changes = compare(ComparedModel(base, *before[:2]), ComparedModel(aligned, *after[:2])).leaves
    return OutputBias(
        base=base,
        aligned=aligned,
        rates=tuple(each for items, cell in cells for each in _leaf_rates(items.table, cell)),
        twins=tuple(each for items, model in sides for each in _twin_rates(items, model)),
        gaps=tuple(_gap_changes(before, base, after, aligned)),
        changes=tuple(changes),
        helpful=tuple(_helpful(after, base, aligned)),
    )


def _cells(items: EvaluatedItems, model: str) -> Iterator[ResultCell]:
    for cell in items.table.reported_cells(items.reported):
        if cell.model == model and cell.metric in BY_LEAF:
            yield cell


def _leaf_rates(table: ResultTable, cell: ResultCell) -> Iterator[LeafRate]:
    leaves = leaves_of(table.of(cell))
    for leaf, column in leaves.items() if len(leaves) > 1 else ():
        yield LeafRate(cell=cell, leaf=leaf, rate=rate(column))


def _gap_changes(before: EvaluatedItems, base: str, after: EvaluatedItems, aligned: str) -> Iterator[GapChange]:
    earlier = {(cell.benchmark, cell.metric): cell for cell in _cells(before, base)}
    for cell in _cells(after, aligned):
        if (own := earlier.get((cell.benchmark, cell.metric))) is None:
            continue
        one = worst_leaf_gap(own, leaves_of(before.table.of(own)))
        other = worst_leaf_gap(cell, leaves_of(after.table.of(cell)))
        if one and other:
            wider = difference(other.gap, one.gap)
            yield GapChange(benchmark=cell.benchmark, metric=cell.metric, base=one, aligned=other, wider=wider)


def _twin_rates(items: EvaluatedItems, model: str) -> Iterator[TwinRates]:
    """Of each benchmark with harmful items and, in the same clusters, harmless ones about other images."""
    cells: dict[str, dict[Metric, ResultCell]] = {}
    for cell in items.table.reported_cells(items.reported):
        if cell.model == model:
            cells.setdefault(cell.benchmark, {})[cell.metric] = cell
    for benchmark, own in cells.items():
        if "refusal" not in own or "over_refusal" not in own:
            continue
        refused, over = (items.table.of(own[metric]) for metric in ("refusal", "over_refusal"))
        harmful = _blobs_by_cluster(refused.items)
        twins = [
            place
            for place, item in enumerate(over.items)
            if item.cluster in harmful and item.blob not in harmful[item.cluster]
        ]
        both = {over.items[place].cluster for place in twins}
        if not both:
            continue
        refused, over = refused.only(_among(refused.items, both)), over.only(twins)
        unsafe = items.table.of(own["unsafe"]) if "unsafe" in own else None
        found = _by_cluster(refused.known_means(), over.known_means())
        yield TwinRates(
            model=model,
            benchmark=benchmark,
            clusters=len(both),
            unsafe=rate(unsafe.only(_among(unsafe.items, both))) if unsafe else None,
            refusal=rate(refused),
            over_refusal=rate(over),
            apart=found.difference,
            p=found.p,
        )


def _blobs_by_cluster(items: Sequence[Item]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for item in items:
        found.setdefault(item.cluster, set()).add(item.blob)
    return found


def _among(items: Sequence[Item], clusters: set[str]) -> list[int]:
    return [place for place, item in enumerate(items) if item.cluster in clusters]


def _by_cluster(ones: Sequence[tuple[Item, float]], others: Sequence[tuple[Item, float]]) -> PairedTest:
    """The paired test of the means of the clusters in which both have known values."""
    first, second = _means(ones), _means(others)
    shared = sorted(first.keys() & second.keys())
    return paired_test([(first[each],) for each in shared], [(second[each],) for each in shared], shared)


def _means(values: Sequence[tuple[Item, float]]) -> Mapping[str, float]:
    found: dict[str, list[float]] = {}
    for item, value in values:
        found.setdefault(item.cluster, []).append(value)
    return {cluster: fmean(own) for cluster, own in found.items()}


def _helpful(items: EvaluatedItems, base: str, aligned: str) -> list[LeafWinRate]:
    """The win rates by leaf if the evaluation compared the two; Holm over the leaves of a benchmark."""
    places: dict[tuple[str, str], list[PairwiseResult]] = {}
    for each in items.comparisons:
        item = items.table.items[each.item_id]
        if (each.model, each.against) == (aligned, base) and metric_of(item) == "win_rate":
            places.setdefault((item.benchmark, item.group), []).append(each)
    found = []
    for (benchmark, leaf), compared in sorted(places.items()):
        shares = [share_of(outcome_of(each, "win_rate")) for each in compared]
        clusters = [items.table.items[each.item_id].cluster for each in compared]
        p = win_p(shares, clusters)
        found.append(LeafWinRate(benchmark=benchmark, leaf=leaf, rate=win_rate(shares, clusters), p=p, p_holm=p))
    return holm_corrected(found, lambda each: each.benchmark)
