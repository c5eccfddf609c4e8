"""Measures of judge bias: position, length, and agreement with a second judge.

All are pure functions of the judged pairs. A judge that always answers "the first" is never
consistent, so its pairs have no winner. A judge that prefers length is perfectly consistent, so
it needs a test of its own. It proves nothing that the longer answer often wins: it may be the
better one. But the guard judged each answer alone, so its verdict does not depend on which of
the two is longer. A judge that agrees with the guard more often if the safer answer is the
longer one is biased by length.
"""

from collections.abc import Sequence
from typing import NamedTuple

from spavl.data.preferences.notes import AgreementNotes, JudgeBiasNotes
from spavl.records import Outcome
from spavl.statistics import Estimate, difference, kappa, rank_correlation, rate_by_cluster

# A warning is reported if a whole interval lies beyond one of these limits.
_CONSISTENT_AT_LEAST = 0.5
# How much the judge's agreement with the guard may differ between safer answers that are longer and shorter.
_SWAYED_AT_MOST = 0.1
# Beyond this, length alone predicts nine winners in ten, so a model can learn length instead of what the judge meant.
_LENGTH_TELLS_AT_MOST = 0.9
# What a model would learn from a pair: nothing from a tie, or if the winner changes with the order.
_TEACHES: dict[Outcome, str] = {"win": "first", "loss": "second", "tie": "neither", "inconsistent": "neither"}


class JudgedPair(NamedTuple):
    """A judged pair, with what the metrics need of its two answers."""

    overall: Outcome
    second_overall: Outcome | None
    # The overall choices of the single votes: first, second, tie or blocked.
    votes: tuple[str, ...]
    image_id: str
    # Characters of the first answer beyond those of the second.
    longer_by: int
    # Harm of the second answer minus harm of the first, by the guard: if above 0, the first is the safer one.
    safer_by: int


class JudgeBias(NamedTuple):
    consistent: Estimate
    first_shown: Estimate
    longer_wins: Estimate
    longer_wins_equal_safety: Estimate
    # Over the pairs that differ in safety: how often the safer answer wins if it is the longer, or the shorter one.
    safer_wins_if_longer: Estimate
    safer_wins_if_shorter: Estimate
    swayed_by_length: Estimate
    length_correlation: Estimate

    def warnings(self) -> list[str]:
        found = []
        if self.consistent.n and self.consistent.high < _CONSISTENT_AT_LEAST:
            found.append("the judge's winner changes with the order of the answers in most pairs: position bias")
        swayed = self.swayed_by_length
        if swayed.n and (swayed.low > _SWAYED_AT_MOST or swayed.high < -_SWAYED_AT_MOST):
            longer, shorter = (f"{own.value:.0%}" for own in (self.safer_wins_if_longer, self.safer_wins_if_shorter))
            found.append(
                f"the safer answer wins in {longer} of the pairs where it is the longer one and in {shorter} where it "
                f"is the shorter one: the judge prefers {'longer' if swayed.value > 0 else 'shorter'} answers"
            )
        equal = self.longer_wins_equal_safety
        if equal.n and (equal.low > _LENGTH_TELLS_AT_MOST or equal.high < 1 - _LENGTH_TELLS_AT_MOST):
            which = "longer" if equal.value > 0.5 else "shorter"
            found.append(
                f"between equally safe answers the {which} one wins in {equal.value:.0%}: "
                f"{which} answers are really better here, or the judge decides by length, and a model can learn that"
            )
        return found

    def as_notes(self) -> JudgeBiasNotes:
        return JudgeBiasNotes(**self._asdict(), warnings=tuple(self.warnings()))


def trust_in(judged: Sequence[JudgedPair]) -> JudgeBias:
    readable = [each for each in judged if each.overall != "blocked"]
    decided = [each for each in readable if each.overall in ("win", "loss")]
    unequal = [each for each in decided if each.longer_by]
    level = [each for each in unequal if not each.safer_by]
    if_longer, if_shorter = (
        _share([_safer_won(each) for each in own], own)
        for own in (
            [each for each in unequal if each.safer_by * each.longer_by > 0],
            [each for each in unequal if each.safer_by * each.longer_by < 0],
        )
    )
    choices = [
        (vote == "first", each.image_id) for each in judged for vote in each.votes if vote in ("first", "second")
    ]
    return JudgeBias(
        consistent=_share([each.overall != "inconsistent" for each in readable], readable),
        first_shown=rate_by_cluster([first for first, _ in choices], [image for _, image in choices]),
        longer_wins=_share([_longer_won(each) for each in unequal], unequal),
        longer_wins_equal_safety=_share([_longer_won(each) for each in level], level),
        safer_wins_if_longer=if_longer,
        safer_wins_if_shorter=if_shorter,
        swayed_by_length=difference(if_longer, if_shorter),
        length_correlation=rank_correlation(
            [each.longer_by for each in decided], [float(each.overall == "win") for each in decided]
        ),
    )


def agreement(judged: Sequence[JudgedPair]) -> AgreementNotes:
    """Agreement of the second judge on what each pair would teach, over the pairs that both judges could judge."""
    both = [
        (_TEACHES[one], _TEACHES[other], each.image_id)
        for each in judged
        if (one := each.overall) != "blocked" and (other := each.second_overall) in _TEACHES
    ]
    images = [image for _, _, image in both]
    return AgreementNotes(
        same=rate_by_cluster([one == other for one, other, _ in both], images),
        kappa=kappa([(one, other) for one, other, _ in both], images),
    )


def _share(hits: Sequence[bool], of: Sequence[JudgedPair]) -> Estimate:
    return rate_by_cluster(hits, [each.image_id for each in of])


def _longer_won(judged: JudgedPair) -> bool:
    return (judged.longer_by > 0) == (judged.overall == "win")


def _safer_won(judged: JudgedPair) -> bool:
    return (judged.safer_by > 0) == (judged.overall == "win")
