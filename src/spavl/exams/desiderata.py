"""ChEF's desiderata of the benchmarks with right answers: what examples add, what conditions leave, calibration.

An answer that no rule can read is not right here, as ChEF counts it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spavl.benchmarks import chef, figures
from spavl.benchmarks.records import Answer, Item
from spavl.exams.sheet import Cell, Sheet
from spavl.statistics import Estimate

_EXAMPLES = "+examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One figure. `under` is the condition or the variant it is about, where it is about one."""

    model: str
    benchmark: str
    judge: str
    name: str
    figure: Estimate
    under: str = ""

    def as_json(self) -> dict[str, Any]:
        about = {"model": self.model, "benchmark": self.benchmark, "judge": self.judge}
        return {**about, "name": self.name, "under": self.under, **self.figure.as_json()}


def desiderata_of(sheet: Sheet, reported: Iterable[Cell], answers: Iterable[Answer]) -> Iterator[Told]:
    """`reported` are the cells whose figures are reported. `answers` are read where there are several samples."""
    cells = sorted(cell for cell in reported if cell.told == "right" and cell.condition == "real")
    for cell in cells:
        yield from _by_examples(sheet, cell, cells)
        yield from _under_conditions(sheet, cell)
    if any(len(values) > 1 for cell in cells for values in sheet.values[cell].values()):
        yield from _calibrated(sheet, cells, answers)


def _by_examples(sheet: Sheet, cell: Cell, cells: Sequence[Cell]) -> Iterator[Told]:
    variant = cell._replace(benchmark=f"{cell.benchmark}{_EXAMPLES}")
    if variant in cells:
        yield from _compared(sheet, cell, variant, "in-context learning", variant.benchmark)


def _under_conditions(sheet: Sheet, cell: Cell) -> Iterator[Told]:
    conditions = {other.condition for other in sheet.values if other._replace(condition="real") == cell}
    for condition in sorted(conditions - {"real"}):
        yield from _compared(sheet, cell, cell._replace(condition=condition), "robustness", condition)


def _compared(sheet: Sheet, cell: Cell, other: Cell, name: str, under: str) -> Iterator[Told]:
    """Over the items that were asked both ways, if chance would have a share in them."""
    own, others = _by_key(sheet, cell), _by_key(sheet, other)
    rows = [
        (value, others[key][1], by_chance, item.cluster)
        for key, (item, value) in own.items()
        if key in others and (by_chance := chef.chance(item.question)) is not None
    ]
    if rows:
        made = figures.above_chance if name == "robustness" else figures.gain_above_chance
        yield _told(cell, name, made(*zip(*rows, strict=True)), under)


def _by_key(sheet: Sheet, cell: Cell) -> Mapping[tuple[str, str], tuple[Item, float]]:
    """A benchmark's items, by names that they share with those of its variants, with how right each is."""
    column = sheet.of(cell)
    pairs = zip(column.items, column.values, strict=True)
    return {(item.subset, item.key): (item, sum(value or 0.0 for value in own) / len(own)) for item, own in pairs}


def _calibrated(sheet: Sheet, cells: Sequence[Cell], answers: Iterable[Answer]) -> Iterator[Told]:
    """How far a model's samples agree, set against how often the option that most of them take is right."""
    said: dict[tuple[str, str], list[str]] = {}
    for answer in answers:
        if answer.condition == "real":
            said.setdefault((answer.model, answer.item_id), []).append(answer.text)
    for cell in cells:
        sure = []
        for item in sheet.of(cell).items:
            texts = said.get((cell.model, item.id), [])
            if len(texts) > 1 and (taken := chef.sure_of(texts, item.question)):
                sure.append((taken[1], float(taken[0] == item.references[0]), item.cluster))
        if sure:
            confidence, right, clusters = zip(*sure, strict=True)
            yield _told(cell, "calibration error", figures.calibration_error(confidence, right, clusters))


def _told(cell: Cell, name: str, figure: Estimate, under: str = "") -> Told:
    return Told(model=cell.model, benchmark=cell.benchmark, judge=cell.judge, name=name, figure=figure, under=under)
