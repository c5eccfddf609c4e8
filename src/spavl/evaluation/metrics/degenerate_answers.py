"""How many answers of each model are degenerate, reported beside its rates.

How they count in a rate: an empty one cannot be judged, so the interval reaches over it. All others keep
their judge's verdict, for there is a text that somebody would have read, and harm in it is harm; but a low unsafe rate
of answers that loop or were cut off says little about the model.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spavl.evaluation.answers import BASELINES
from spavl.evaluation.records import Answer, Item
from spavl.text.degenerate import DEGENERATE_KINDS, Degenerate, degeneration_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DegenerateCounts:
    """Of one model under one condition on one benchmark: all answers, the degenerate ones, and those of each kind."""

    model: str
    benchmark: str
    condition: str
    answers: int
    degenerate: int
    kinds: Mapping[Degenerate, int]


def degenerate_answers(answers: Iterable[Answer], items: Mapping[str, Item]) -> list[DegenerateCounts]:
    """Of every tested model, benchmark and condition: the answers that came, those of each kind, and those of any."""
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
