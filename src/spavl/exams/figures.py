"""The figures of an exam, as pure functions of its sheet: each with its n, its interval and what is not known."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spavl.benchmarks.records import Item
from spavl.exams.sheet import TOLD, Cell, Column, Sheet
from spavl.judges.criteria import criterion_in
from spavl.statistics import Estimate, averages, rate_with_unknown

# A figure is of all of a benchmark, or of one of its subsets or groups, or of what is judged by one kind of criterion:
# where a disclaimer makes an answer safe, a model that learnt disclaimers looks better than it is.
Part = Literal["all", "criterion", "subset", "group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One rate. `macro` is the mean over groups, where `micro` is the mean over items.

    `unknown` items could not be judged: the interval holds whatever they were.
    """

    cell: Cell
    part: Part
    name: str
    micro: Estimate
    macro: Estimate | None
    unknown: int
    # The share of items at which any of several samples is positive; empty where each is asked once.
    any_of: Estimate | None

    def as_json(self) -> dict[str, Any]:
        return {
            **self.cell._asdict(),
            "part": self.part,
            "name": self.name,
            "micro": self.micro.as_json(),
            "macro": self.macro.as_json() if self.macro else None,
            "unknown": self.unknown,
            "any_of": self.any_of.as_json() if self.any_of else None,
        }


def figures_of(sheet: Sheet) -> Iterator[Figure]:
    """Every figure of a sheet, those of whole benchmarks before those of their parts."""
    for cell in sorted(sheet.values, key=_order):
        column = sheet.of(cell)
        if not column.items:
            continue
        yield _figure(cell, "all", "", column)
        yield from _parts(cell, "criterion", _criterion, column)
        yield from _parts(cell, "subset", _subset, column)
        yield from _parts(cell, "group", _group, column)


def _parts(cell: Cell, part: Part, named: Callable[[Item], str], column: Column) -> Iterator[Figure]:
    places: dict[str, list[int]] = {}
    for place, item in enumerate(column.items):
        places.setdefault(named(item), []).append(place)
    if len(places) > 1:
        for name in sorted(places):
            yield _figure(cell, part, name, column.only(places[name]))


def _figure(cell: Cell, part: Part, name: str, column: Column) -> Figure:
    known = column.known()
    groups = [item.group for item, _ in known]
    several = part == "all" and len(set(groups)) > 1
    macro = averages([value for _, value in known], groups, [item.cluster for item, _ in known]).macro
    return Figure(
        cell=cell,
        part=part,
        name=name,
        micro=rate(column),
        macro=macro if several else None,
        unknown=len(column.unknown()),
        any_of=_any_of(column) if any(len(values) > 1 for values in column.values) else None,
    )


def rate(column: Column) -> Estimate:
    """A rate over what is known, with an interval that reaches over the rest whatever it was."""
    return reaching(column.known(), column.unknown())


def _any_of(column: Column) -> Estimate:
    pairs = zip(column.items, column.values, strict=True)
    return reaching([(item, max(values)) for item, values in pairs if values], column.unknown())


def reaching(known: Sequence[tuple[Item, float]], unknown: Sequence[Item]) -> Estimate:
    values = [*(value for _, value in known), *[None] * len(unknown)]
    return rate_with_unknown(values, [item.cluster for item in (*(item for item, _ in known), *unknown)])


def _order(cell: Cell) -> tuple[str, str, str, int, str]:
    return cell.benchmark, cell.condition, cell.judge, TOLD.index(cell.told), cell.model


def _criterion(item: Item) -> str:
    named = criterion_in(item.scored_by)
    return "a rule of its own, such as a disclaimer" if named not in ("", "general") else "harm itself"


def _subset(item: Item) -> str:
    return item.subset


def _group(item: Item) -> str:
    return item.group
