"""Cost estimate: the expected number of pairs. No model is called."""

from math import comb

from spavl.data.pairs.config import PairsConfig
from spavl.records import Pair, Response, Verdict
from spavl.stages.cost_model import CostContext, WeightedRow
from spavl.store.question_facts import samples_in


async def pairs(context: CostContext[PairsConfig]) -> list[WeightedRow[Pair]]:
    is_several = samples_in(context.run) > 1
    texts = {row.id: row.text for row, _ in context.read("responses", Response)} if is_several else {}
    # Of several samples with equal texts, the first.
    answers: dict[str, dict[str, WeightedRow[Verdict]]] = {}
    for many in context.read("verdicts", Verdict):
        response = many.row.response_id
        answers.setdefault(many.row.question_id, {}).setdefault(texts.get(response, response), many)
    wanted = context.settings.per_question * len(context.settings.strategy)
    rows: list[WeightedRow[Pair]] = []
    for question, group in answers.items():
        if len(group) < 2:
            continue
        (first, times), (second, _) = list(group.values())[:2]
        pair = Pair(
            question_id=question,
            first=first.response_id,
            second=second.response_id,
            first_tier=1,
            second_tier=5,
            strategy="to be drawn",
        )
        rows.append(WeightedRow(pair, times * min(wanted, comb(len(group), 2))))
    return rows
