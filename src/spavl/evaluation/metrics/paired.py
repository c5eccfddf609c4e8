"""Two models on the same items: the difference of their rates, its test, and Holm's correction of several tests."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol, Self, TypeVar

from spavl.evaluation.metrics.result_table import RATES, Reported, ResultCell, ResultColumn, ResultTable
from spavl.statistics import Estimate, holm_within, least_p, paired_test, stand_alone


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRates:
    """A model against another on the same items."""

    cell: ResultCell
    against: str
    # How much higher the model's rate is.
    difference: Estimate
    # The number of items on which the model's value is higher, and on which the other's is.
    model_only: int
    against_only: int
    test: str
    p: float
    # The smallest p that this number of clusters can have.
    least_p: float
    # p after Holm's correction; equal to p if there is no other test.
    p_holm: float

    def with_p_holm(self, p_holm: float) -> Self:
        return replace(self, p_holm=p_holm)


class HolmTest(Protocol):
    """A comparison with a p that is corrected together with others."""

    @property
    def p(self) -> float: ...

    def with_p_holm(self, p_holm: float) -> Self: ...


T = TypeVar("T", bound=HolmTest)


def pairs_of(table: ResultTable, models: Iterable[str], against: str, by: Reported) -> Iterator[PairedRates]:
    """Each model against the base, under the condition `real`."""
    for model in models:
        for cell in table.reported_cells(by):
            if cell.model == model and cell.metric in RATES:
                pair = pair_of(cell, against, table.of(cell), table.of(cell._replace(model=against)))
                yield from (pair,) if pair else ()


def holm_corrected(tests: Sequence[T], family: Callable[[T], Hashable]) -> list[T]:
    """The tests with Holm's correction, each within its own family."""
    raised = holm_within([family(test) for test in tests], [test.p for test in tests])
    return [test.with_p_holm(p) for test, p in zip(tests, raised, strict=True)]


def pair_of(cell: ResultCell, against: str, own: ResultColumn, others: ResultColumn) -> PairedRates | None:
    """The comparison; None if the two have no item in common. Answers without a verdict may be anything, for either."""
    mine, theirs = own.by_item(), others.by_item()
    shared = [item for item in own.items if item.id in theirs]
    ones, twos = [mine[item.id] for item in shared], [theirs[item.id] for item in shared]
    clusters = [item.cluster for item in shared]
    found = paired_test(ones, twos, clusters)
    if not found.difference.n:
        return None
    known = {item.id: value for item, value in others.known_means()}
    both = [(value, known[item.id]) for item, value in own.known_means() if item.id in known]
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
        p_holm=found.p,
    )
