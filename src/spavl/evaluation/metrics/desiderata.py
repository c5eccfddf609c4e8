"""ChEF's desiderata on benchmarks with right answers: in-context learning, robustness, calibration.

An answer that no rule can read counts as not right, as in ChEF. A missing answer is unknown.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

from spavl.evaluation.benchmarks.ability import chef, formulas
from spavl.evaluation.metrics.result_table import ResultCell, ResultTable
from spavl.evaluation.records import Answer, Item
from spavl.statistics import Estimate
from spavl.statistics.paired import known_samples

_EXAMPLES = "+examples"
# How right each sample of an item is; None if it is missing.
Samples = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DesideratumMetric:
    """One metric. `under` is the condition or the variant that it is about, if any."""

    model: str
    benchmark: str
    judge: str
    name: str
    value: Estimate
    under: str = ""


def desiderata_of(
    table: ResultTable, reported: Iterable[ResultCell], answers: Iterable[Answer]
) -> Iterator[DesideratumMetric]:
    """`reported` are the cells whose metrics are reported. `answers` are read only if there are several samples."""
    cells = sorted(cell for cell in reported if cell.metric == "right" and cell.condition == "real")
    for cell in cells:
        yield from _by_examples(table, cell, cells)
        yield from _under_conditions(table, cell)
    if any(len(values) > 1 for cell in cells for values in table.values[cell].values()):
        yield from _calibration_metrics(table, cells, answers)


def _by_examples(table: ResultTable, cell: ResultCell, cells: Sequence[ResultCell]) -> Iterator[DesideratumMetric]:
    variant = cell._replace(benchmark=f"{cell.benchmark}{_EXAMPLES}")
    if variant in cells:
        yield from _paired_metrics(table, cell, variant, "in-context learning", variant.benchmark)


def _under_conditions(table: ResultTable, cell: ResultCell) -> Iterator[DesideratumMetric]:
    conditions = {other.condition for other in table.values if other._replace(condition="real") == cell}
    for condition in sorted(conditions - {"real"}):
        yield from _paired_metrics(table, cell, cell._replace(condition=condition), "robustness", condition)


def _paired_metrics(
    table: ResultTable, cell: ResultCell, other: ResultCell, name: str, under: str
) -> Iterator[DesideratumMetric]:
    """The metric over the items that were asked both ways and have options, so that chance is known.

    Missing answers may have been right or wrong: the interval covers both.
    """
    own, others = _by_key(table, cell), _by_key(table, other)
    rows = [
        (values, others[key][1], by_chance, item.cluster)
        for key, (item, values) in own.items()
        if key in others and (by_chance := chef.chance(item.question)) is not None
    ]
    if not rows:
        return
    formula = formulas.above_chance if name == "robustness" else formulas.gain_above_chance
    samples = [(known_samples(before), known_samples(after), luck, cluster) for before, after, luck, cluster in rows]
    known = [
        (fmean(before), fmean(after), luck, cluster) for before, after, luck, cluster in samples if before and after
    ]
    found = formula(*zip(*known, strict=True)) if known else Estimate(math.nan, 0, -math.inf, math.inf)
    if any(None in before or None in after for before, after, _, _ in rows):
        ends = []
        for one, two in product((0.0, 1.0), repeat=2):
            filled = [
                (_mean_filling_missing(own, one), _mean_filling_missing(theirs, two), luck, cluster)
                for own, theirs, luck, cluster in rows
            ]
            ends.append(formula(*zip(*filled, strict=True)))
        found = found._replace(low=min(end.low for end in ends), high=max(end.high for end in ends))
    yield _metric(cell, name, found, under)


def _mean_filling_missing(samples: Samples, other: float) -> float:
    return fmean(other if value is None else value for value in samples)


def _by_key(table: ResultTable, cell: ResultCell) -> Mapping[tuple[str, str], tuple[Item, Samples]]:
    """A benchmark's items, by keys that they share with those of its variants, with how right each sample is."""
    column = table.of(cell)
    return {(item.subset, item.key): (item, own) for item, own in zip(column.items, column.values, strict=True)}


def _calibration_metrics(
    table: ResultTable, cells: Sequence[ResultCell], answers: Iterable[Answer]
) -> Iterator[DesideratumMetric]:
    """How far a model's samples agree, compared with how often the option that most of them take is right.

    The error of an item with a missing sample may be anything from 0 to 1, which the interval covers.
    """
    answered: dict[tuple[str, str], list[str]] = {}
    for answer in answers:
        if answer.condition == "real":
            answered.setdefault((answer.model, answer.item_id), []).append(answer.text)
    for cell in cells:
        sure, lost = [], 0
        for item, values in zip(*table.of(cell), strict=True):
            texts = answered.get((cell.model, item.id), [])
            if None in values:
                lost += 1
            elif len(texts) > 1 and (taken := chef.sure_of(texts, item.question)):
                sure.append((taken[1], float(taken[0] == item.references[0]), item.cluster))
        if sure:
            confidence, right, clusters = zip(*sure, strict=True)
            found = formulas.calibration_error(confidence, right, clusters)
            share = found.n / (found.n + lost)
            found = found._replace(low=share * found.low, high=share * found.high + 1 - share)
            yield _metric(cell, "calibration error", found)


def _metric(cell: ResultCell, name: str, value: Estimate, under: str = "") -> DesideratumMetric:
    return DesideratumMetric(
        model=cell.model, benchmark=cell.benchmark, judge=cell.judge, name=name, value=value, under=under
    )
