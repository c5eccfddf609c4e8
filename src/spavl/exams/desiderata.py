"""ChEF's desiderata of the benchmarks with right answers: what examples add, what conditions leave, calibration.

An answer that no rule can read is not right here, as ChEF counts it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spavl.benchmarks import chef, figures
from spavl.benchmarks.records import Answer, Item
from spavl.exams.sheet import Cell, Sheet

_EXAMPLES = "+examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One figure. `under` is the condition or the variant it is about, where it is about one."""

    model: str
    benchmark: str
    judge: str
    name: str
    value: float
    n: int
    under: str = ""

    def as_json(self) -> dict[str, Any]:
        # In JSON there is no NaN: a figure that is not defined is null.
        return {**asdict(self), "value": None if math.isnan(self.value) else self.value}


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
    asked = sorted(own.keys() & others.keys())
    before, after = (sum(values[key][1] for key in asked) / max(1, len(asked)) for values in (own, others))
    by_chance = chef.chance(own[key][0].question for key in asked)
    if not math.isnan(by_chance):
        made = figures.above_chance if name == "robustness" else figures.gain_above_chance
        yield _told(cell, name, made(before, after, by_chance), len(asked), under)


def _by_key(sheet: Sheet, cell: Cell) -> Mapping[tuple[str, str], tuple[Item, float]]:
    """A benchmark's items, by names that they share with those of its variants, with how right each is."""
    column = sheet.of(cell)
    pairs = zip(column.items, column.values, strict=True)
    return {(item.subset, item.key): (item, sum(values) / len(values) if values else 0.0) for item, values in pairs}


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
                sure.append((taken[1], float(taken[0] == item.references[0])))
        if sure:
            confidence, right = zip(*sure, strict=True)
            yield _told(cell, "calibration error", figures.calibration_error(confidence, right), len(sure))


def _told(cell: Cell, name: str, value: float, n: int, under: str = "") -> Told:
    return Told(model=cell.model, benchmark=cell.benchmark, judge=cell.judge, name=name, value=value, n=n, under=under)
