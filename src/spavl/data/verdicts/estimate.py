"""Cost estimate: the guard's calls."""

from spavl.data.verdicts.config import VerdictsConfig
from spavl.data.verdicts.contradictions import verdict_on
from spavl.judges.canaries.checks import STAGE, ask_canaries, canaries_of_guard, canaries_of_questions
from spavl.judges.judge_inputs import case_about
from spavl.judges.registry import is_rules, open_guard
from spavl.records import Category, Image, Question, QuestionVerdict, Response, Verdict
from spavl.stages.cost_model import CostContext, WeightedRow, subsample_rows

# Words of a verdict: one line of two words on a question, up to three lines on an answer.
_OF_QUESTION, _WORDS = 3, 8


async def question_verdicts(context: CostContext[VerdictsConfig]) -> list[WeightedRow[QuestionVerdict]]:
    uri = context.settings.guard
    images = {image.id: image for image, _ in context.read("selection", Image)}
    categories = {category.id: category for category, _ in context.read("taxonomy", Category)}
    if not is_rules(uri):
        await ask_canaries(canaries_of_questions(open_guard(uri, context.counting(1, _OF_QUESTION), STAGE)))
    rows: list[WeightedRow[QuestionVerdict]] = []
    for question, times in subsample_rows(context.read("questions", Question)):
        image = images[question.image_id]
        if not is_rules(uri):
            guard = open_guard(uri, context.counting(times, _OF_QUESTION), context.stage)
            await guard.judge_question(case_about(question, image, context.image(image), categories))
        # The verdict is not known yet. Without contradictions, most questions are left for later stages.
        rows.append(WeightedRow(verdict_on(question, image, None, uri), times))
    return rows


async def verdicts(context: CostContext[VerdictsConfig]) -> list[WeightedRow[Verdict]]:
    uri = context.settings.guard
    images = {image.id: image for image, _ in context.read("selection", Image)}
    questions = {question.id: question for question, _ in context.read("questions", Question)}
    categories = {category.id: category for category, _ in context.read("taxonomy", Category)}
    if not is_rules(uri):
        await ask_canaries(canaries_of_guard(open_guard(uri, context.counting(1, _WORDS), STAGE)))
    rows: list[WeightedRow[Verdict]] = []
    for response, times in subsample_rows(context.read("responses", Response)):
        if not is_rules(uri):
            question = questions[response.question_id]
            image = images[question.image_id]
            guard = open_guard(uri, context.counting(times, _WORDS), context.stage)
            await guard.judge(case_about(question, image, context.image(image), categories), response.text)
        verdict = Verdict(
            response_id=response.id,
            question_id=response.question_id,
            model=response.model,
            label="safe",
            severity=None,
            hazards=(),
            refused=False,
            prompt_label=None,
            guard=uri,
            raw="",
        )
        rows.append(WeightedRow(verdict, times))
    return rows
