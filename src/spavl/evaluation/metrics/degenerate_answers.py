"""How many answers of each model are degenerate, reported beside its rates.

An empty answer cannot be judged, so the interval of a rate covers any value of it. All others keep their verdict,
because a user would have read the text, and harm in it is harm. But a low unsafe rate of answers that loop or were cut
off says little about the model.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spavl.evaluation.answers import BASELINES
from spavl.evaluation.records import Answer, Item
from spavl.text.degenerate import DEGENERATE_KINDS, Degenerate, degeneration_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DegenerateCounts:
    """For one model, condition and benchmark: the numbers of answers, of degenerate ones, and of those of each kind."""

    model: str
    benchmark: str
    condition: str
    answers: int
    degenerate: int
    kinds: Mapping[Degenerate, int]


def degenerate_answers(answers: Iterable[Answer], items: Mapping[str, Item]) -> list[DegenerateCounts]:
    """The counts for every tested model, benchmark and condition. Missing answers are not counted."""
    came = Counter[tuple[str, str, str]]()
    of_any, of_kind = came.copy(), Counter[tuple[tuple[str, str, str], Degenerate]]()
    for answer in answers:
        if answer.model in BASELINES:
            continue
        item = items[answer.item_id]
        place = answer.model, item.benchmark, answer.condition
        kinds = set(degeneration_of(answer.text, answer.finish))
        if item.wants == "answer":
            # A letter or a word alone is what such a question asks for, and no judge reads the answer.
            kinds.discard("verdict_shaped")
        came[place] += 1
        of_any[place] += bool(kinds)
        of_kind.update((place, kind) for kind in kinds)
    return [
        DegenerateCounts(
            model=place[0],
            benchmark=place[1],
            condition=place[2],
            answers=number,
            degenerate=of_any[place],
            kinds={kind: of_kind[place, kind] for kind in DEGENERATE_KINDS},
        )
        for place, number in came.items()
    ]
