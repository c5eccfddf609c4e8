"""Whether an item needs its image: whether a model answers alike with a blank image, with none and with another one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from spavl.evaluation.config import OF_IMAGES
from spavl.evaluation.metrics.rates import rate
from spavl.evaluation.metrics.result_table import RATES, Reported, ResultCell, ResultColumn, ResultTable
from spavl.statistics import Estimate, rate_of_samples, rate_with_unknown
from spavl.statistics.paired import known_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDependence:
    """How many of a benchmark's items a model answers alike with any image, and its rate on the others."""

    cell: ResultCell
    conditions: tuple[str, ...]
    alike: Estimate
    # The names of the items that are answered alike.
    keys: tuple[str, ...]
    on_others: Estimate


def image_dependence_of(table: ResultTable, by: Reported) -> Iterator[ImageDependence]:
    for cell in table.reported_cells(by):
        if cell.metric not in RATES:
            continue
        conditions = [each for each in OF_IMAGES if cell._replace(condition=each) in table.values]
        others = [table.of(cell._replace(condition=each)).by_item() for each in conditions]
        real = table.of(cell)
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
    """Whether an item's values are the same with every image; None if that depends on an unknown value."""
    known = {fmean(values) for samples in shown if len(values := known_samples(samples)) == len(samples)}
    if len(known) > 1:
        return 0.0
    return None if any(None in samples for samples in shown) else 1.0


def _on_others(asked: ResultColumn, same: Sequence[float | None]) -> Estimate:
    """The rate on items that are not answered alike. The interval covers items for which that is unknown."""
    found = rate(asked.only(place for place, alike in enumerate(same) if alike == 0))
    unsure = {place for place, alike in enumerate(same) if alike is None}
    ends = []
    for other in (0.0, 1.0):
        whole = [[other if value is None else value for value in values] for values in asked.values]
        chosen = {place for place in unsure if abs(other - fmean(whole[place])) < 0.5}
        kept = [place for place, alike in enumerate(same) if alike == 0 or place in chosen]
        ends.append(rate_of_samples([whole[place] for place in kept], [asked.items[place].cluster for place in kept]))
    return found._replace(low=min(found.low, ends[0].low), high=max(found.high, ends[1].high))
