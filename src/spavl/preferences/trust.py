"""What shows whether a judge can be trusted: does it look at the place, does it look at the length, does another agree?

All are pure functions of the judged pairs. A judge that always says "the first" is never
consistent, and teaches nothing. One that likes length is perfectly consistent, so it must be
looked for: among answers that are equally safe, how often does the longer one win?
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from spavl.records import Outcome
from spavl.statistics import Estimate, kappa, rank_correlation, rate_by_cluster

# A judge is called out when the whole interval lies beyond these.
_LONGER_WINS_AT_MOST = 0.8
_CONSISTENT_AT_LEAST = 0.5
# What a pair would teach; a tie and a winner that changes with the order teach the same: nothing.
_TEACHES: dict[Outcome, str] = {"win": "first", "loss": "second", "tie": "neither", "inconsistent": "neither"}


class Judged(NamedTuple):
    """A judged pair, with what the figures need to know of its two answers."""

    overall: Outcome
    second_overall: Outcome | None
    # The overall choices of the single votes: first, second, tie or blocked.
    votes: tuple[str, ...]
    image_id: str
    # Characters of the first answer beyond those of the second.
    longer_by: int
    # Whether the guard found both answers equally safe.
    equally_safe: bool


class Trust(NamedTuple):
    consistent: Estimate
    first_shown: Estimate
    longer_wins: Estimate
    longer_wins_equal_safety: Estimate
    length_correlation: Estimate

    def warnings(self) -> list[str]:
        found = []
        if self.consistent.n and self.consistent.high < _CONSISTENT_AT_LEAST:
            found.append("the judge's winner changes with the order of showing in most pairs: it looks at the place")
        equal = self.longer_wins_equal_safety
        if equal.n and equal.low > _LONGER_WINS_AT_MOST:
            found.append(
                "between equally safe answers the longer one wins far more often than not: "
                "longer answers are really better here, or the judge likes length"
            )
        if equal.n and equal.high < 1 - _LONGER_WINS_AT_MOST:
            found.append(
                "between equally safe answers the shorter one wins far more often than not: "
                "shorter answers are really better here, or the judge dislikes length"
            )
        return found

    def as_note(self) -> dict[str, Any]:
        return {name: estimate.as_json() for name, estimate in self._asdict().items()} | {"warnings": self.warnings()}


def trust_in(judged: Sequence[Judged]) -> Trust:
    readable = [each for each in judged if each.overall != "blocked"]
    decided = [each for each in readable if each.overall in ("win", "loss")]
    unequal = [each for each in decided if each.longer_by]
    level = [each for each in unequal if each.equally_safe]
    choices = [
        (vote == "first", each.image_id) for each in judged for vote in each.votes if vote in ("first", "second")
    ]
    return Trust(
        consistent=_share([each.overall != "inconsistent" for each in readable], readable),
        first_shown=rate_by_cluster([first for first, _ in choices], [image for _, image in choices]),
        longer_wins=_share([_longer_won(each) for each in unequal], unequal),
        longer_wins_equal_safety=_share([_longer_won(each) for each in level], level),
        length_correlation=rank_correlation(
            [each.longer_by for each in decided], [float(each.overall == "win") for each in decided]
        ),
    )


def agreement(judged: Sequence[Judged]) -> dict[str, Any]:
    """How far the second judge agrees on what each pair would teach, over the pairs that both could judge."""
    both = [
        (_TEACHES[one], _TEACHES[other], each.image_id)
        for each in judged
        if (one := each.overall) != "blocked" and (other := each.second_overall) in _TEACHES
    ]
    images = [image for _, _, image in both]
    return {
        "same": rate_by_cluster([one == other for one, other, _ in both], images).as_json(),
        "kappa": kappa([(one, other) for one, other, _ in both], images).as_json(),
    }


def _share(hits: Sequence[bool], of: Sequence[Judged]) -> Estimate:
    return rate_by_cluster(hits, [each.image_id for each in of])


def _longer_won(judged: Judged) -> bool:
    return (judged.longer_by > 0) == (judged.overall == "win")
