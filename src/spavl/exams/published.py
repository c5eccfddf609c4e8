"""The figures that a benchmark is published with beyond a mean, such as POPE's F1: to be set beside papers'."""

import math
from typing import Any

from spavl.benchmarks import shelf
from spavl.benchmarks.records import Item, Mark
from spavl.exams.sheet import Reported, Sheet
from spavl.store import RunFolder


def published_figures(run: RunFolder, sheet: Sheet, reported: Reported) -> list[dict[str, Any]]:
    """Of every model, as its benchmark means to be asked, by the rule that is reported."""
    counted = {name: counts for name in reported if (counts := shelf.named(name).figures) is not None}
    found: dict[tuple[str, str], tuple[list[Item], list[float | None]]] = {}
    for mark in run.read("marks", Mark) if counted else ():
        item = sheet.items[mark.item_id]
        by = reported[item.benchmark].get("right")
        if item.benchmark in counted and mark.condition == "real" and mark.judge == by:
            items, values = found.setdefault((item.benchmark, mark.model), ([], []))
            items.append(item)
            values.append(mark.value)
    return [
        {"benchmark": benchmark, "model": model, "name": name, "value": None if math.isnan(value) else value}
        for (benchmark, model), (items, values) in sorted(found.items())
        for name, value in counted[benchmark](items, values).items()
    ]
