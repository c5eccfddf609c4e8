"""The published metrics of benchmarks other than a mean, such as POPE's F1, to be compared with papers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spavl.evaluation.benchmarks import registry
from spavl.evaluation.benchmarks.types import Figures
from spavl.evaluation.metrics.result_table import Reported, ResultTable
from spavl.evaluation.records import Item
from spavl.statistics import Estimate

_NOT_KNOWN = Estimate(math.nan, 0, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedMetric:
    """One metric of one model, by one rule: `judge`."""

    benchmark: str
    model: str
    judge: str
    name: str
    value: Estimate


def published_metrics(table: ResultTable, reported: Reported) -> Iterator[PublishedMetric]:
    """The metrics of every model under the condition `real`, by each rule of its benchmark: ours and published ones.

    They use the first answer to each item, as papers ask for one. Each rule has its own value for an answer that it
    cannot read; a missing answer is unknown.
    """
    for cell in sorted(table.values):
        counted = registry.benchmark_named(cell.benchmark).figures if cell.benchmark in reported else None
        if counted is None or (cell.condition, cell.metric) != ("real", "right"):
            continue
        column = table.of(cell)
        if not column.items:
            continue
        unread = table.values[cell._replace(metric="unread")]
        came = [values[0] is not None for values in column.values]
        right = [
            values[0] if here and not unread[item.id][0] else None
            for item, values, here in zip(column.items, column.values, came, strict=True)
        ]
        for name, value in _reaching(counted, column.items, right, came).items():
            yield PublishedMetric(benchmark=cell.benchmark, model=cell.model, judge=cell.judge, name=name, value=value)


def _reaching(
    counted: Figures, items: Sequence[Item], right: Sequence[float | None], came: Sequence[bool]
) -> Mapping[str, Estimate]:
    """The metrics over the answers that came, with intervals that cover any values of the missing ones."""
    if all(came):
        return counted(items, right)
    here = [place for place, each in enumerate(came) if each]
    known = counted([items[place] for place in here], [right[place] for place in here]) if here else {}
    ends = [
        counted(items, [value if each else other for value, each, other in zip(right, came, others, strict=True)])
        for others in _whatever(items)
    ]
    found = {}
    for name in ends[0]:
        low, high = min(end[name].low for end in ends), max(end[name].high for end in ends)
        found[name] = known.get(name, _NOT_KNOWN)._replace(low=low, high=high)
    return found


def _whatever(items: Sequence[Item]) -> Iterator[Sequence[float | None]]:
    """Values that give the extremes of all metrics: all right, all wrong or all unread; of two options, always one."""
    yield from ([value] * len(items) for value in (1.0, 0.0, None))
    options = sorted({item.references[0] for item in items})
    if len(options) == 2:
        yield from ([float(item.references[0] == each) for item in items] for each in options)
