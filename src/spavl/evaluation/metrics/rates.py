"""The rates of an evaluation, as pure functions of its result table: each with its n, interval and unknown answers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean, stdev
from typing import Literal

from spavl.evaluation.metrics.result_table import METRICS, ResultCell, ResultColumn, ResultTable
from spavl.evaluation.records import Item
from spavl.judges.guards.criteria import DISCLAIMED, criterion_in
from spavl.statistics import Estimate, macro_of_samples, rate_by_cluster, rate_of_samples

# A rate is of a whole benchmark, of one of its subsets or groups, or of the items that one kind of criterion judges.
# Criteria have rates of their own because a model that learned disclaimers looks better than it is where they suffice.
Part = Literal["all", "criterion", "subset", "group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateMetric:
    """One rate. `macro` is the mean over groups, where `micro` is the mean over items.

    `unknown` of the `asked` answers are missing or could not be judged: the interval covers any values of them.
    """

    cell: ResultCell
    part: Part
    # The name of the subset, group or criterion; empty for the whole benchmark.
    name: str
    micro: Estimate
    macro: Estimate | None
    asked: int
    unknown: int
    # If items are asked several times: the share of items with any positive sample, and the standard deviation of the
    # rates of single samples.
    any_of: Estimate | None = None
    sd_of_samples: float | None = None
    # The rate corrected for the judge's errors, if there is a gold guard; else why there is no correction.
    corrected: Estimate | None = None
    not_corrected: str = ""


def rate_metrics_of(table: ResultTable) -> Iterator[RateMetric]:
    """Every rate of a table, those of whole benchmarks before those of their parts."""
    for cell in sorted(table.values, key=_order):
        column = table.of(cell)
        if not column.items:
            continue
        yield _rate_metric(cell, "all", "", column)
        yield from _parts(cell, "criterion", _criterion, column)
        yield from _parts(cell, "subset", _subset, column)
        yield from _parts(cell, "group", _group, column)


def _parts(cell: ResultCell, part: Part, named: Callable[[Item], str], column: ResultColumn) -> Iterator[RateMetric]:
    places: dict[str, list[int]] = {}
    for place, item in enumerate(column.items):
        places.setdefault(named(item), []).append(place)
    if len(places) > 1:
        for name in sorted(places):
            yield _rate_metric(cell, part, name, column.only(places[name]))


def _rate_metric(cell: ResultCell, part: Part, name: str, column: ResultColumn) -> RateMetric:
    groups = [item.group for item in column.items]
    several = part == "all" and len(set(groups)) > 1
    sampled = any(len(values) > 1 for values in column.values)
    return RateMetric(
        cell=cell,
        part=part,
        name=name,
        micro=rate(column),
        macro=macro_of_samples(column.values, groups, column.clusters()) if several else None,
        asked=sum(map(len, column.values)),
        unknown=column.unknown(),
        any_of=_any_of(column) if sampled else None,
        sd_of_samples=_sd_of_samples(column) if sampled else None,
    )


def rate(column: ResultColumn) -> Estimate:
    """A rate over the known values, with an interval that covers any values of the others."""
    return rate_of_samples(column.values, column.clusters())


def _any_of(column: ResultColumn) -> Estimate:
    """The share of items with any positive sample, if all samples are known; the interval covers the other items.

    An item with a positive sample and a missing one is left out too: among items with a missing sample only the
    positive ones are decided, so counting them would make the share too high.
    """
    clusters = column.clusters()
    whole = [place for place, values in enumerate(column.values) if None not in values]
    rate = rate_by_cluster([_any(column.values[place], 0.0) for place in whole], [clusters[place] for place in whole])
    if len(whole) == len(column.values):
        return rate
    least, most = (rate_by_cluster([_any(each, other) for each in column.values], clusters) for other in (0.0, 1.0))
    low, high = (least.low, most.high) if not whole else (min(least.low, rate.value), max(most.high, rate.value))
    return rate._replace(low=low, high=high)


def _any(values: Sequence[float | None], other: float) -> float:
    return max(other if value is None else value for value in values)


def _sd_of_samples(column: ResultColumn) -> float | None:
    """The standard deviation of the rates that each take one sample of every item."""
    by_sample = ([value for value in sample if value is not None] for sample in zip_longest(*column.values))
    rates = [fmean(sample) for sample in by_sample if sample]
    return stdev(rates) if len(rates) > 1 else None


def _order(cell: ResultCell) -> tuple[str, str, str, int, str]:
    return cell.benchmark, cell.condition, cell.judge, METRICS.index(cell.metric), cell.model


def _criterion(item: Item) -> str:
    named = criterion_in(item.scored_by)
    if named in DISCLAIMED:
        return "a disclaimer"
    return "turning it down" if named not in ("", "general") else "harm itself"


def _subset(item: Item) -> str:
    return item.subset


def _group(item: Item) -> str:
    return item.group
