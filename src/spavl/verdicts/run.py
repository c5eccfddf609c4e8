"""verdicts: Response -> Verdict rows. A verdict that cannot be read is `invalid`, never safe."""

import asyncio
from collections import Counter

from spavl.errors import GateError
from spavl.judge_checks import check_judges, noted
from spavl.judges.canaries import STAGE, canaries_of_guard, canaries_of_questions
from spavl.judges.empty import word_on_empty
from spavl.judges.shop import open_guard
from spavl.judges.types import Case, Word
from spavl.models.types import Picture
from spavl.records import Image, Question, Response, Verdict
from spavl.stage import Job, Made, run_rows
from spavl.statistics import too_many_unknown
from spavl.store import Manifest
from spavl.verdicts.config import PLAN, VerdictsConfig


async def run(job: Job[VerdictsConfig]) -> Manifest:
    guard = open_guard(job.settings.guard, job.models, PLAN.stage)
    trial = open_guard(job.settings.guard, job.models.at_once(), STAGE)
    canaries = {job.settings.guard: [*canaries_of_guard(trial), *canaries_of_questions(trial)]}
    words = await check_judges(job, canaries, job.settings.canaries, "--verdicts.canaries warn")
    images, questions = job.run.lookup("images", Image), job.run.lookup("questions", Question)
    responses = job.run.read("responses", Response)

    async def work(response: Response) -> Made[Verdict]:
        question = questions[response.question_id]
        image = images[question.image_id]
        case = Case(
            picture=Picture(image.blob, job.run.blobs.get(image.blob)),
            question=question.text,
            subject=image.subject,
            harmful=question.harmful,
        )
        # The question's label is the same for all its answers, and asked for once: the ledger sees to it.
        said_nothing = word_on_empty(response.text, response.finish)
        told, prompt_label = await asyncio.gather(
            _no_word() if said_nothing else guard.judge(case, response.text), guard.judge_question(case)
        )
        word = said_nothing or told
        verdict = Verdict(
            response_id=response.id,
            question_id=question.id,
            model=response.model,
            label=word.label,
            severity=word.severity,
            hazards=word.hazards,
            refused=word.refused or response.finish == "refused",
            prompt_label=prompt_label,
            guard=guard.name,
            raw=word.raw,
        )
        return Made([verdict])

    return await run_rows(
        job, PLAN, responses, job.run.count("responses", Response), work, lambda: _count_labels(job) | noted(words)
    )


async def _no_word() -> Word:
    return Word("invalid", False, "")


def _count_labels(job: Job[VerdictsConfig]) -> dict[str, object]:
    labels: Counter[str] = Counter()
    questions: Counter[str] = Counter()
    last = ""
    for verdict in job.run.read(PLAN.stage, Verdict):
        labels[verdict.label] += 1
        # The answers to a question lie together, and have its label in common.
        if verdict.question_id != last and verdict.prompt_label:
            questions[verdict.prompt_label] += 1
        last = verdict.question_id
    invalid, rows = labels["invalid"], labels.total()
    if too_many_unknown(invalid, rows, job.settings.most_invalid):
        raise GateError(
            f"{invalid} of {rows} verdicts could not be read, more than {job.settings.most_invalid:.0%}",
            where=f"verdicts by {job.settings.guard}",
            then="see their `raw` column in tables/verdicts.parquet; use another guard, or raise verdicts.most_invalid",
        )
    return {"labels": dict(labels), "questions": dict(questions)}
