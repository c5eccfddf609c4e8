"""What an evaluation's items have in common with training data, and the rates without those items.

An item was seen if its image was, or its question if it has no image or a blank one. The same words about another
image make another item: of a benchmark that asks "Describe this image in detail." of every image, none would be left.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from spavl.evaluation.config import OVERLAPS, EvaluationConfig
from spavl.evaluation.metrics.rates import rate
from spavl.evaluation.metrics.result_table import RATES, Reported, ResultTable
from spavl.evaluation.records import Overlap
from spavl.statistics import rate_by_cluster
from spavl.store import RunFolder

# What is told of a benchmark, and which overlaps count towards it.
_KINDS = {"picture": ("picture",), "question": ("question", "wording"), "seen": ("picture", "question")}


def audit_of(run: RunFolder, config: EvaluationConfig, sheet: ResultTable, reported: Reported) -> dict[str, Any]:
    manifest = run.manifest(OVERLAPS.stage)
    if not config.contamination.train or manifest is None:
        return {}
    found: dict[str, set[str]] = {name: set() for name in _KINDS}
    for overlap in run.read(OVERLAPS.stage, Overlap):
        for name, kinds in _KINDS.items():
            if overlap.kind in kinds:
                found[name].add(overlap.item_id)
    return {
        "train": config.contamination.train,
        **manifest.notes,
        "benchmarks": {name: dict(_shares(sheet, name, found)) for name in reported},
        "figures": list(_without(sheet, reported, found["seen"])),
    }


def _shares(sheet: ResultTable, benchmark: str, found: Mapping[str, Collection[str]]) -> Iterator[tuple[str, Any]]:
    """How many of a benchmark's items have an image or a question of the training data, and how many were seen."""
    items = [item for item in sheet.items.values() if item.benchmark == benchmark]
    clusters = [item.cluster for item in items]
    for name, own in found.items():
        yield name, rate_by_cluster([item.id in own for item in items], clusters).as_json()


def _without(sheet: ResultTable, reported: Reported, seen: Collection[str]) -> Iterator[dict[str, Any]]:
    for cell in sheet.reported(reported):
        if cell.told not in RATES:
            continue
        column = sheet.of(cell)
        new = column.only(place for place, item in enumerate(column.items) if item.id not in seen)
        yield {**cell._asdict(), "all": rate(column).as_json(), "not_seen": rate(new).as_json()}
