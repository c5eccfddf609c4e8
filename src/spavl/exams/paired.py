"""Two models on the same items: how far apart their rates are, and whether that can be chance."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spavl.exams.sheet import RATES, Cell, Column, Reported, Sheet
from spavl.statistics import Estimate, flip_test, holm_within, mcnemar, paired_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A model against another on the items on which both could be judged."""

    cell: Cell
    against: str
    # How much higher the model's rate is.
    difference: Estimate
    # The items on which just one of the two is positive.
    model_only: int
    against_only: int
    test: str
    p: float

    def as_json(self) -> dict[str, Any]:
        return {
            **self.cell._asdict(),
            "against": self.against,
            "difference": self.difference.as_json(),
            "model_only": self.model_only,
            "against_only": self.against_only,
            "test": self.test,
            "p": self.p,
        }


def pairs_of(sheet: Sheet, models: Iterable[str], against: str, by: Reported) -> Iterator[Paired]:
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


def set_against(cell: Cell, against: str, own: Column, others: Column) -> Paired | None:
    """None where the two have no item in common."""
    theirs = {item.id: value for item, value in others.known()}
    both = [(item, value, theirs[item.id]) for item, value in own.known() if item.id in theirs]
    if not both:
        return None
    ones, twos = [one for _, one, _ in both], [two for _, _, two in both]
    clusters = [item.cluster for item, _, _ in both]
    more, less = sum(one > two for _, one, two in both), sum(one < two for _, one, two in both)
    alone = len(set(clusters)) == len(both) and {*ones, *twos} <= {0.0, 1.0}
    return Paired(
        cell=cell,
        against=against,
        difference=paired_difference(ones, twos, clusters),
        model_only=more,
        against_only=less,
        test="McNemar, exact" if alone else "sign flips of clusters",
        p=mcnemar(less, more) if alone else flip_test(ones, twos, clusters),
    )
