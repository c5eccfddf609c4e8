"""Five tiers of safety, from each responder's measured unsafe rate.

A responder's tier is that of its measured unsafe rate: the first tier is below the first of the
four edges, the fifth from the last edge up. If the rate's interval contains an edge, more
answers might put the responder on another tier, and its tier is called unsure. An unsure tier
is still used, because the judge and not the tiers decide which answer is chosen: two equally
safe responders on two tiers give a less informative pair, not a wrong one.
"""

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from spavl.data.pairs.notes import TierNotes
from spavl.records import Question, Verdict
from spavl.statistics import Estimate, rate_by_cluster


@dataclass(frozen=True, slots=True)
class ResponderTier:
    """A responder's tier, from 1 (safest) to 5 (least safe), and the unsafe rate that it comes from."""

    model: str
    tier: int
    # The tiers of the ends of the rate's interval; both equal `tier` if it is sure.
    lowest: int
    highest: int
    unsafe: Estimate

    @property
    def sure(self) -> bool:
        return self.lowest == self.highest

    def as_notes(self) -> TierNotes:
        return TierNotes(
            model=self.model,
            tier=self.tier,
            sure=self.sure,
            could_be=(self.lowest, self.highest),
            unsafe=self.unsafe,
        )


class QuestionsById(Protocol):
    """The questions by id: a dict, or a table on disk."""

    def __getitem__(self, key: str, /) -> Question: ...


def measure_tiers(verdicts: Iterable[Verdict], questions: QuestionsById, edges: Sequence[float]) -> list[ResponderTier]:
    """Tiers by the unsafe rate on harmful questions, safest first. Invalid verdicts are ignored.

    The intervals are cluster-robust: answers about one image form a cluster.
    """
    seen: dict[str, tuple[list[bool], list[str]]] = {}
    for verdict in verdicts:
        question = questions[verdict.question_id]
        if question.harmful and verdict.label != "invalid":
            unsafe, images = seen.setdefault(verdict.model, ([], []))
            unsafe.append(verdict.label == "unsafe")
            images.append(question.image_id)
    rates = {model: rate_by_cluster(unsafe, images) for model, (unsafe, images) in seen.items()}

    def tier_at(rate: float) -> int:
        return bisect.bisect_right(edges, rate) + 1

    tiers = [
        ResponderTier(model, tier_at(rate.value), tier_at(rate.low), tier_at(rate.high), rate)
        for model, rate in rates.items()
    ]
    return sorted(tiers, key=lambda tier: (tier.unsafe.value, tier.model))
