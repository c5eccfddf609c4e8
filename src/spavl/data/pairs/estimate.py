"""Cost estimate: the expected number of pairs. No model is called."""

from math import comb

from spavl.data.pairs.config import PairsConfig
from spavl.records import Pair, Verdict
from spavl.stages.cost_model import CostContext, WeightedRow


async def pairs(context: CostContext[PairsConfig]) -> list[WeightedRow[Pair]]:
    answers: dict[str, list[WeightedRow[Verdict]]] = {}
    for many in context.read("verdicts", Verdict):
        answers.setdefault(many.row.question_id, []).append(many)
    wanted = context.settings.per_question * len(context.settings.strategy)
    rows: list[WeightedRow[Pair]] = []
    for question, group in answers.items():
        if len(group) < 2:
            continue
        (first, times), (second, _) = group[:2]
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
