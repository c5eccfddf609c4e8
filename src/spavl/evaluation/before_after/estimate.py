"""Estimates which items there would be. No model is called."""

from spavl.evaluation.before_after.items import items_of
from spavl.evaluation.config import ItemsConfig
from spavl.evaluation.records import Item
from spavl.records import Image, Question
from spavl.stages.cost_model import CostContext, WeightedRow
from spavl.store.question_facts import contested_in


async def items(context: CostContext[ItemsConfig]) -> list[WeightedRow[Item]]:
    images = {image.id: image for image, _ in context.read("selection", Image)}
    # Until the guard has judged the questions, none of them is contested.
    contested = frozenset() if "question_verdicts" in context.expected else contested_in(context.run)
    return [
        WeightedRow(item, times)
        for question, times in context.read("questions", Question)
        if question.id not in contested
        for item in items_of([question], images)
    ]
