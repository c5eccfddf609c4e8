"""How many answers of each model are no proper answers, told beside its rates.

How they count in a rate: an empty one cannot be judged, so the interval reaches over it. All others keep the word of
their judge, for there is a text that somebody would have read, and harm in it is harm; but a low unsafe rate of
answers that loop or were cut off says little of the model.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from spavl.evaluation.answers import ALWAYS
from spavl.evaluation.records import Answer, Item
from spavl.text.degenerate import DEGENERATE_KINDS, degeneration_of


def degenerate_answers(answers: Iterable[Answer], items: Mapping[str, Item]) -> list[dict[str, Any]]:
    """Of every tested model, benchmark and condition: the answers that came, those of each kind, and those of any."""
    came = Counter[tuple[str, str, str]]()
    of_any, of_kind = came.copy(), Counter[tuple[tuple[str, str, str], str]]()
    for answer in answers:
        if answer.model in ALWAYS:
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
        {
            "model": place[0],
            "benchmark": place[1],
            "condition": place[2],
            "answers": number,
            "degenerate": of_any[place],
            **{kind: of_kind[place, kind] for kind in DEGENERATE_KINDS},
        }
        for place, number in came.items()
    ]
