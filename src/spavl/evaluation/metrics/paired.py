"""Two models on the same items: how far apart their rates are, and whether that can be chance."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from spavl.evaluation.metrics.result_table import RATES, Reported, ResultCell, ResultColumn, ResultTable
from spavl.statistics import ALPHA, Estimate, compared, holm_within, least_p, stand_alone


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRates:
    """A model against another on the same items."""

    cell: ResultCell
    against: str
    # How much higher the model's rate is.
    difference: Estimate
    # The items on which just one of the two is positive.
    model_only: int
    against_only: int
    test: str
    p: float
    least_p: float

    def as_json(self) -> dict[str, Any]:
        return {
            **self.cell._asdict(),
            "against": self.against,
            "difference": self.difference.as_json(),
            "model_only": self.model_only,
            "against_only": self.against_only,
            "test": self.test,
            "p": self.p,
            "least_p": self.least_p,
        }


def pairs_of(sheet: ResultTable, models: Iterable[str], against: str, by: Reported) -> Iterator[PairedRates]:
    """Each model against the base, as every benchmark means to be asked."""
    for model in models:
        for cell in sheet.reported(by):
            if cell.model == model and cell.told in RATES:
                pair = set_against(cell, against, sheet.of(cell), sheet.of(cell._replace(model=against)))
                yield from (pair,) if pair else ()


def with_holm(
    tests: Sequence[Mapping[str, Any]], family: Callable[[Mapping[str, Any]], Hashable]
) -> list[dict[str, Any]]:
    """Tests as they stand in JSON, with what is left of each p where all of its family are asked at once."""
    raised = holm_within([family(test) for test in tests], [test["p"] for test in tests])
    return [{**test, "p_holm": p} for test, p in zip(tests, raised, strict=True)]


def with_what_could_be_clear(
    tests: Sequence[Mapping[str, Any]], family: Callable[[Mapping[str, Any]], Hashable]
) -> list[dict[str, Any]]:
    """Tests that say of each whether it could have been clear at all, had all of its family found the most they can."""
    raised = holm_within([family(test) for test in tests], [test["least_p"] for test in tests])
    return [{**test, "could_be_clear": p <= ALPHA} for test, p in zip(tests, raised, strict=True)]


def set_against(cell: ResultCell, against: str, own: ResultColumn, others: ResultColumn) -> PairedRates | None:
    """None where the two have no item in common. What could not be judged may have been anything, for either."""
    mine, theirs = own.by_item(), others.by_item()
    shared = [item for item in own.items if item.id in theirs]
    ones, twos = [mine[item.id] for item in shared], [theirs[item.id] for item in shared]
    clusters = [item.cluster for item in shared]
    found = compared(ones, twos, clusters)
    if not found.difference.n:
        return None
    known = {item.id: value for item, value in others.known()}
    both = [(value, known[item.id]) for item, value in own.known() if item.id in known]
    once = {len(values) for values in (*ones, *twos)} == {1} and {*chain(*both)} <= {0.0, 1.0}
    return PairedRates(
        cell=cell,
        against=against,
        difference=found.difference,
        model_only=sum(one > two for one, two in both),
        against_only=sum(one < two for one, two in both),
        test="McNemar, exact" if once and stand_alone(clusters) else "sign flips of clusters",
        p=found.p,
        least_p=least_p(len(set(clusters))),
    )
