"""What the tested models, their guard and their judge would be asked."""

from dataclasses import replace

from spavl.evaluation.in_pipeline.config import BeforeAfterConfig
from spavl.evaluation.in_pipeline.probes import HELD_OUT_IMAGES, probes_for
from spavl.evaluation.in_pipeline.unjudged import unjudged
from spavl.judges.canaries.checks import STAGE, ask_canaries, canaries_of_guard, canaries_of_judge
from spavl.judges.judge_inputs import case_about
from spavl.judges.pairwise import compare
from spavl.judges.registry import is_rules, open_guard, open_judge
from spavl.models.types import ask_about
from spavl.records import Category, Duel, Image, Question, Score
from spavl.stages.cost_model import CostContext, Weighted, subsample_rows
from spavl.store.question_facts import contested_in

# An answer of two paragraphs, three lines of a guard, seven of a judge.
_ANSWER, _WORD, _VOTE = 150, 8, 25


async def evaluation(context: CostContext[BeforeAfterConfig]) -> list[Weighted[Score]]:
    settings, rows = context.settings, list[Weighted[Score]]()
    arms = {"before": settings.before, "after": settings.after or f"hf/{context.run.checkpoint('aligned')}"}
    images = {image.id: image for image, _ in context.read("selection", Image)}
    if not is_rules(settings.guard):
        await ask_canaries(canaries_of_guard(open_guard(settings.guard, context.counting(1, _WORD), STAGE)))
    categories, contested = _categories(context), _contested(context)
    every = [many for many in context.read("questions", Question) if many.row.id not in contested]
    for question, times in subsample_rows([many for many in every if _probed(many.row, images)]):
        image = images[question.image_id]
        shown = context.image(image)
        request = ask_about(
            shown,
            question.text,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=context.seed,
        )
        for probe in probes_for(image):
            for arm, uri in arms.items():
                reply = await context.open(uri, times, _ANSWER).ask(request)
                if not is_rules(settings.guard):
                    guard = open_guard(settings.guard, context.counting(times, _WORD), context.stage)
                    await guard.judge(case_about(question, image, shown, categories), reply.text)
                rows.append(
                    Weighted(
                        replace(unjudged(probe.name, arm, question, image), answer=reply.text, label="safe"), times
                    )
                )
    return rows


async def duels(context: CostContext[BeforeAfterConfig]) -> list[Weighted[Duel]]:
    uri = context.settings.judge
    if is_rules(uri):
        return []
    await ask_canaries(canaries_of_judge(open_judge(uri, context.counting(1, _VOTE), STAGE)))
    images = {image.id: image for image, _ in context.read("selection", Image)}
    questions = {question.id: question for question, _ in context.read("questions", Question)}
    categories = _categories(context)
    compared = [
        many
        for many in context.read("evaluation", Score)
        if many.row.arm == "after" and many.row.probe == HELD_OUT_IMAGES and not many.row.harmful
    ]
    for score, times in subsample_rows(compared):
        question, image = questions[score.question_id], images[score.image_id]
        judge = open_judge(uri, context.counting(times, _VOTE), context.stage)
        case = case_about(question, image, context.image(image), categories)
        await compare(judge, case, score.answer, score.answer)
    return []


def _probed(question: Question, images: dict[str, Image]) -> bool:
    return bool(probes_for(images[question.image_id]))


def _categories(context: CostContext[BeforeAfterConfig]) -> dict[str, Category]:
    return {category.id: category for category, _ in context.read("taxonomy", Category)}


def _contested(context: CostContext[BeforeAfterConfig]) -> frozenset[str]:
    """Before the guard was asked about the questions nobody contradicts what they were meant to be."""
    return frozenset() if "question_verdicts" in context.expected else contested_in(context.run)
