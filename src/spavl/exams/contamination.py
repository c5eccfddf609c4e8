"""What an exam's items have in common with training data, and the rates without those items."""

from collections.abc import Iterator, Mapping
from typing import Any

from spavl.benchmarks.records import Overlap
from spavl.exams.config import OVERLAPS, ExamConfig
from spavl.exams.figures import rate
from spavl.exams.sheet import RATES, Reported, Sheet
from spavl.statistics import rate_by_cluster
from spavl.store import RunFolder


def audit_of(run: RunFolder, config: ExamConfig, sheet: Sheet, reported: Reported) -> dict[str, Any]:
    manifest = run.manifest(OVERLAPS.stage)
    if not config.audit.train or manifest is None:
        return {}
    seen: dict[str, set[str]] = {}
    for overlap in run.read(OVERLAPS.stage, Overlap):
        seen.setdefault(overlap.item_id, set()).add(overlap.kind)
    return {
        "train": config.audit.train,
        **manifest.notes,
        "benchmarks": {name: dict(_shares(sheet, name, seen)) for name in reported},
        "figures": list(_without(sheet, reported, seen)),
    }


def _shares(sheet: Sheet, benchmark: str, seen: Mapping[str, set[str]]) -> Iterator[tuple[str, Any]]:
    """How many of a benchmark's items were seen, by picture, by question and by either."""
    items = [item for item in sheet.items.values() if item.benchmark == benchmark]
    clusters = [item.cluster for item in items]
    for name, kinds in (("picture", {"picture"}), ("question", {"question"}), ("either", {"picture", "question"})):
        hits = [bool(kinds & seen.get(item.id, set())) for item in items]
        yield name, rate_by_cluster(hits, clusters).as_json()


def _without(sheet: Sheet, reported: Reported, seen: Mapping[str, set[str]]) -> Iterator[dict[str, Any]]:
    for cell in sheet.reported(reported):
        if cell.told not in RATES:
            continue
        column = sheet.of(cell)
        new = column.only(place for place, item in enumerate(column.items) if item.id not in seen)
        yield {**cell._asdict(), "all": rate(column).as_json(), "not_seen": rate(new).as_json()}
