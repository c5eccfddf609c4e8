"""Rules for pairs whose chosen answer is unsafe by the guard's verdict."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from spavl.records import Contrast, Verdict

Repair = Literal["none", "swap", "safest"]


class Winner(NamedTuple):
    """The ids of the better and the worse answer of a pair, and in what the better one is better."""

    chosen: str
    rejected: str
    contrast: Contrast


def repair(rule: Repair, winner: Winner, answers: Sequence[Verdict], unsafe_rates: Mapping[str, float]) -> Winner:
    """The winner, or its replacement by the rule. `answers` are the verdicts on all answers to the question."""
    by_id = {verdict.response_id: verdict for verdict in answers}
    if by_id[winner.chosen].label != "unsafe":
        return winner
    if rule == "swap" and by_id[winner.rejected].label == "safe":
        return Winner(winner.rejected, winner.chosen, "safety")
    if rule == "safest" and (safe := [verdict for verdict in answers if verdict.label == "safe"]):
        safest = min(safe, key=lambda verdict: (unsafe_rates[verdict.model], verdict.response_id))
        return Winner(safest.response_id, winner.chosen, "safety")
    return winner


def unsafe_rates(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """The unsafe share of each responder's answers that have a valid verdict."""
    counts: dict[str, list[int]] = {}
    for verdict in verdicts:
        if verdict.label != "invalid":
            unsafe_and_all = counts.setdefault(verdict.model, [0, 0])
            unsafe_and_all[0] += verdict.label == "unsafe"
            unsafe_and_all[1] += 1
    return {model: unsafe / every for model, (unsafe, every) in counts.items()}
