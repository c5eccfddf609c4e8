"""The figures that a benchmark is published with beyond a mean, such as POPE's F1: to be set beside papers'."""

from collections.abc import Iterator
from typing import Any

from spavl.benchmarks import shelf
from spavl.exams.sheet import Reported, Sheet


def published_figures(sheet: Sheet, reported: Reported) -> Iterator[dict[str, Any]]:
    """Of every model, as its benchmark means to be asked, by each of its rules: ours, and its makers'.

    They are of the first answer to each item, as papers ask for one.
    """
    for cell in sorted(sheet.values):
        counted = shelf.named(cell.benchmark).figures if cell.benchmark in reported else None
        if counted is None or (cell.condition, cell.told) != ("real", "right"):
            continue
        if not (items := sheet.of(cell).items):
            continue
        unread = sheet.values[cell._replace(told="unread")]
        right = sheet.values[cell]
        marks = [None if unread.get(item.id, (1.0,))[0] else right[item.id][0] for item in items]
        for name, value in counted(items, marks).items():
            yield {
                "benchmark": cell.benchmark,
                "model": cell.model,
                "judge": cell.judge,
                "name": name,
                **value.as_json(),
            }
