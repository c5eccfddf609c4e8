"""Whether an item needs its image: what a model says of a blank one, of none and of another one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from spavl.evaluation.config import OF_IMAGES
from spavl.evaluation.metrics.rates import rate
from spavl.evaluation.metrics.result_table import RATES, Reported, ResultCell, ResultColumn, ResultTable
from spavl.statistics import Estimate, rate_of_samples, rate_with_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDependence:
    """How many of a benchmark's items a model answers alike whatever it is shown, and its rate on the others."""

    cell: ResultCell
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


def dependences_of(sheet: ResultTable, by: Reported) -> Iterator[ImageDependence]:
    for cell in sheet.reported(by):
        if cell.told not in RATES:
            continue
        conditions = [each for each in OF_IMAGES if cell._replace(condition=each) in sheet.values]
        others = [sheet.of(cell._replace(condition=each)).by_item() for each in conditions]
        real = sheet.of(cell)
        asked = real.only(place for place, item in enumerate(real.items) if all(item.id in each for each in others))
        if not others or not asked.items:
            continue
        same = [
            _alike([values, *(each[item.id] for each in others)])
            for item, values in zip(asked.items, asked.values, strict=True)
        ]
        keys = [item for item, alike in zip(asked.items, same, strict=True) if alike]
        yield ImageDependence(
            cell=cell,
            conditions=tuple(conditions),
            alike=rate_with_unknown(same, asked.clusters()),
            keys=tuple(f"{item.subset}/{item.key}" if item.subset else item.key for item in keys),
            on_others=_on_others(asked, same),
        )


def _alike(shown: Sequence[Sequence[float | None]]) -> float | None:
    """Whether an item's values are the same whatever was shown; None where one that is not known decides it."""
    known = {fmean(values) for samples in shown if len(values := _known(samples)) == len(samples)}
    if len(known) > 1:
        return 0.0
    return None if any(None in samples for samples in shown) else 1.0


def _known(samples: Sequence[float | None]) -> list[float]:
    return [value for value in samples if value is not None]


def _on_others(asked: ResultColumn, same: Sequence[float | None]) -> Estimate:
    """The rate on items that are not answered alike. Those of which that is not known may be among them."""
    found = rate(asked.only(place for place, alike in enumerate(same) if alike == 0))
    unsure = {place for place, alike in enumerate(same) if alike is None}
    ends = []
    for other in (0.0, 1.0):
        whole = [[other if value is None else value for value in values] for values in asked.values]
        drawn = {place for place in unsure if abs(other - fmean(whole[place])) < 0.5}
        kept = [place for place, alike in enumerate(same) if alike == 0 or place in drawn]
        ends.append(rate_of_samples([whole[place] for place in kept], [asked.items[place].cluster for place in kept]))
    return found._replace(low=min(found.low, ends[0].low), high=max(found.high, ends[1].high))
