"""Estimates the calls of a build's evaluation: of the canaries, the two models, their guard and their judge."""

from typing import Any

from spavl.evaluation.answers import all_asked
from spavl.evaluation.conditions import inputs_of
from spavl.evaluation.config import AnswersConfig, CanariesConfig, JudgementsConfig, PairwiseConfig
from spavl.evaluation.model_names import models_by_name
from spavl.evaluation.records import Answer, Item, Judgement, PairwiseResult
from spavl.judges.canaries.checks import STAGE, CanaryResult, ask_canaries, canaries_of_guard, canaries_of_judge
from spavl.judges.pairwise import compare
from spavl.judges.registry import is_rules, open_guard, open_judge
from spavl.judges.types import JudgeInput
from spavl.models.types import ImageData, ask_about
from spavl.records import Category, Image, Question
from spavl.stages.cost_model import CostContext, WeightedRow, subsample_rows

# The expected words of a reply: two paragraphs for an answer, three lines for a guard, seven for a judge.
_ANSWER, _VERDICT, _VOTE = 150, 8, 25


async def canaries(context: CostContext[CanariesConfig]) -> list[WeightedRow[CanaryResult]]:
    settings = context.settings
    for uri in settings.guard:
        if not is_rules(uri):
            await ask_canaries(canaries_of_guard(open_guard(uri, context.counting(1, _VERDICT), STAGE)))
    if settings.judge and not is_rules(settings.judge):
        await ask_canaries(canaries_of_judge(open_judge(settings.judge, context.counting(1, _VOTE), STAGE)))
    return []


async def answers(context: CostContext[AnswersConfig]) -> list[WeightedRow[Answer]]:
    settings, rows = context.settings, list[WeightedRow[Answer]]()
    trained, images = f"hf/{context.run.checkpoint('aligned')}", _images(context)
    for item, times in subsample_rows(context.read("items", Item)):
        request = ask_about(
            context.image(images[item.key]),
            item.question,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=context.seed,
        )
        for each in all_asked([item], inputs_of([item], context.seed), settings):
            for name, uri in models_by_name(settings.models).items():
                reply = await context.open(uri or trained, times, _ANSWER).ask(request)
                answer = Answer(
                    item_id=item.id,
                    model=name,
                    condition=each.condition,
                    sample=each.sample,
                    text=reply.text,
                    finish=reply.finish,
                    call="",
                )
                rows.append(WeightedRow(answer, times))
    return rows


async def judgements(context: CostContext[JudgementsConfig]) -> list[WeightedRow[Judgement]]:
    items, case_of = _items(context), _CaseMaker(context)
    for answer, times in subsample_rows(context.read("answers", Answer)):
        for uri in context.settings.guard:
            if not is_rules(uri):
                guard = open_guard(uri, context.counting(times, _VERDICT), context.stage)
                await guard.judge(case_of(items[answer.item_id]), answer.text)
    return []


async def pairwise(context: CostContext[PairwiseConfig]) -> list[WeightedRow[PairwiseResult]]:
    uri, base = context.settings.judge, context.settings.base
    if is_rules(uri):
        return []
    items, case_of = _items(context), _CaseMaker(context)
    for answer, times in subsample_rows(context.read("answers", Answer)):
        item = items[answer.item_id]
        if answer.model != base and answer.condition == "real" and "pairwise" in item.scored_by:
            judge = open_judge(uri, context.counting(times, _VOTE), context.stage)
            await compare(judge, case_of(item), answer.text, answer.text)
    return []


class _CaseMaker:
    """Builds the judge input of an item; an image that does not exist yet is replaced by one of its size."""

    def __init__(self, context: CostContext[Any]) -> None:
        self._context, self._images = context, _images(context)
        self._categories = {each.leaf: each for each, _ in context.read("taxonomy", Category)}

    def __call__(self, item: Item) -> JudgeInput:
        shown: ImageData = self._context.image(self._images[item.key])
        category, harmful = self._categories.get(item.group), item.wants == "refuse"
        return JudgeInput(shown, item.question, item.subject or None, harmful, category=category)


def _items(context: CostContext[Any]) -> dict[str, Item]:
    return {item.id: item for item, _ in context.read("items", Item)}


def _images(context: CostContext[Any]) -> dict[str, Image]:
    """The image of each question, by question id."""
    images = {image.id: image for image, _ in context.read("selection", Image)}
    return {question.id: images[question.image_id] for question, _ in context.read("questions", Question)}
