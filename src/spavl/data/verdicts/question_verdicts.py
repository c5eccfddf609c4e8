"""question_verdicts: Question rows -> QuestionVerdict rows. The guard judges each question once, test questions too.

It runs before the responses stage, so that questions which are not what they were meant to be are found before any
responder is paid.
"""

from spavl.data.verdicts.config import QUESTIONS, VerdictsConfig
from spavl.data.verdicts.contradictions import (
    contradictions,
    labelled_question,
    sentences_on,
    stop_at_contradictions,
    verdict_on,
)
from spavl.data.verdicts.notes import QuestionVerdictsNotes
from spavl.judges.canaries.checks import STAGE, canaries_of_questions
from spavl.judges.judge_inputs import case_about
from spavl.judges.registry import open_guard
from spavl.models.types import ImageData
from spavl.records import Image, Question, QuestionVerdict
from spavl.stages.context import RowResult, StageContext
from spavl.stages.judge_checks import canary_notes, check_judges
from spavl.stages.runner import run_rows
from spavl.store import Manifest
from spavl.store.question_facts import categories_in


async def run(context: StageContext[VerdictsConfig]) -> Manifest:
    settings = context.settings
    guard = open_guard(settings.guard, context.models, QUESTIONS.stage)
    canaries = {settings.guard: canaries_of_questions(open_guard(settings.guard, context.models.at_once(), STAGE))}
    words = await check_judges(context, canaries, settings.canaries, "--verdicts.canaries warn")
    images, categories = context.run.lookup("selection", Image), categories_in(context.run)

    async def work(question: Question) -> RowResult[QuestionVerdict]:
        image = images[question.image_id]
        shown = ImageData(image.blob, context.run.blobs.get(image.blob))
        label = await guard.judge_question(case_about(question, image, shown, categories))
        return RowResult([verdict_on(question, image, label, guard.name)])

    def conclude() -> QuestionVerdictsNotes:
        questions = context.run.lookup("questions", Question)
        every = (
            (verdict, questions[verdict.question_id]) for verdict in context.run.read(QUESTIONS.stage, QuestionVerdict)
        )
        found = [labelled_question(verdict, question, images[question.image_id]) for verdict, question in every]
        stop_at_contradictions(found, settings.most_contradicted, guard.name)
        for sentence in sentences_on(found):
            context.screen.say(f"warning: {sentence}")
        return QuestionVerdictsNotes(
            guard=guard.name, contradictions=tuple(contradictions(found)), canaries=canary_notes(words)
        )

    total = context.run.count("questions", Question)
    must_be_read = settings.max_invalid < 1
    return await run_rows(
        context, QUESTIONS, context.run.read("questions", Question), total, work, conclude, must_be_read=must_be_read
    )
