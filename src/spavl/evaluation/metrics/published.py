"""The figures that a benchmark is published with beyond a mean, such as POPE's F1: to be set beside papers'."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spavl.evaluation.benchmarks import registry
from spavl.evaluation.benchmarks.types import Figures
from spavl.evaluation.metrics.result_table import Reported, ResultTable
from spavl.evaluation.records import Item
from spavl.statistics import Estimate

_NOT_KNOWN = Estimate(math.nan, 0, 0.0, 1.0)


def published_figures(sheet: ResultTable, reported: Reported) -> Iterator[dict[str, Any]]:
    """Of every model, as its benchmark means to be asked, by each of its rules: ours, and its makers'.

    They are of the first answer to each item, as papers ask for one. What a rule makes of an answer that it cannot
    read, it says itself; of one that never came nothing is known.
    """
    for cell in sorted(sheet.values):
        counted = registry.named(cell.benchmark).figures if cell.benchmark in reported else None
        if counted is None or (cell.condition, cell.told) != ("real", "right"):
            continue
        column = sheet.of(cell)
        if not column.items:
            continue
        unread = sheet.values[cell._replace(told="unread")]
        came = [values[0] is not None for values in column.values]
        marks = [
            values[0] if here and not unread[item.id][0] else None
            for item, values, here in zip(column.items, column.values, came, strict=True)
        ]
        for name, value in _reaching(counted, column.items, marks, came).items():
            yield {
                "benchmark": cell.benchmark,
                "model": cell.model,
                "judge": cell.judge,
                "name": name,
                **value.as_json(),
            }


def _reaching(
    counted: Figures, items: Sequence[Item], marks: Sequence[float | None], came: Sequence[bool]
) -> Mapping[str, Estimate]:
    """The figures over the answers that came, with intervals that reach over the others, whatever they were."""
    if all(came):
        return counted(items, marks)
    here = [place for place, each in enumerate(came) if each]
    told = counted([items[place] for place in here], [marks[place] for place in here]) if here else {}
    ends = [
        counted(items, [mark if each else other for mark, each, other in zip(marks, came, others, strict=True)])
        for others in _whatever(items)
    ]
    found = {}
    for name in ends[0]:
        low, high = min(end[name].low for end in ends), max(end[name].high for end in ends)
        found[name] = told.get(name, _NOT_KNOWN)._replace(low=low, high=high)
    return found


def _whatever(items: Sequence[Item]) -> Iterator[Sequence[float | None]]:
    """Marks of which the ends of all figures come: all right, all wrong, all unread; of yes and no, always the one."""
    yield from ([mark] * len(items) for mark in (1.0, 0.0, None))
    said = sorted({item.references[0] for item in items})
    if len(said) == 2:
        yield from ([float(item.references[0] == each) for item in items] for each in said)
