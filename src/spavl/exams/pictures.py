"""Whether an item needs its picture: what a model says of a blank one, of none and of another one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spavl.exams.config import OF_PICTURES
from spavl.exams.figures import rate
from spavl.exams.sheet import RATES, Cell, Column, Reported, Sheet
from spavl.statistics import Estimate, rate_by_cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaning:
    """How many of a benchmark's items a model answers alike whatever it is shown, and its rate on the others."""

    cell: Cell
    conditions: tuple[str, ...]
    alike: Estimate
    keys: tuple[str, ...]
    on_others: Estimate

    def as_json(self) -> dict[str, Any]:
        return {
            **self.cell._asdict(),
            "conditions": list(self.conditions),
            "alike": self.alike.as_json(),
            "keys": list(self.keys),
            "on_others": self.on_others.as_json(),
        }


def leanings_of(sheet: Sheet, by: Reported) -> Iterator[Leaning]:
    for cell in sheet.reported(by):
        if cell.told not in RATES:
            continue
        others = {
            condition: dict(_known(sheet.of(cell._replace(condition=condition))))
            for condition in OF_PICTURES
            if cell._replace(condition=condition) in sheet.values
        }
        if not others:
            continue
        real = sheet.of(cell)
        own = dict(_known(real))
        asked = [item for item in real.items if item.id in own and all(item.id in each for each in others.values())]
        known = {item.id for item in asked}
        same = {item.id for item in asked if all(each[item.id] == own[item.id] for each in others.values())}
        if not asked:
            continue
        places = [place for place, item in enumerate(real.items) if item.id in known - same]
        yield Leaning(
            cell=cell,
            conditions=tuple(others),
            alike=rate_by_cluster([item.id in same for item in asked], [item.cluster for item in asked]),
            keys=tuple(f"{item.subset}/{item.key}" if item.subset else item.key for item in asked if item.id in same),
            on_others=rate(real.only(places)),
        )


def _known(column: Column) -> Iterator[tuple[str, float]]:
    return ((item.id, value) for item, value in column.known())
