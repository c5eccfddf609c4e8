"""verdicts: Response -> Verdict rows. A verdict that cannot be read is `invalid`, never safe."""

import asyncio
from collections import Counter

from spavl.errors import GateError
from spavl.judge_checks import check_judges, noted
from spavl.judges.canaries import STAGE, canaries_of_guard, canaries_of_questions
from spavl.judges.empty import EMPTY
from spavl.judges.shop import open_guard
from spavl.judges.types import Case, Guard, Word
from spavl.models.types import Picture
from spavl.records import Image, Question, Response, Verdict
from spavl.stage import Job, Made, run_rows
from spavl.statistics import too_many_unknown
from spavl.store import Manifest
from spavl.text.degenerate import is_empty
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
        word, prompt_label = await asyncio.gather(_word_on(response, guard, case), guard.judge_question(case))
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

    total = job.run.count("responses", Response)
    # Whoever wants verdicts however few can be read is not kept from them.
    must_be_read = job.settings.most_invalid < 1
    return await run_rows(
        job, PLAN, responses, total, work, lambda: _count_labels(job) | noted(words), must_be_read=must_be_read
    )


async def _word_on(response: Response, guard: Guard, case: Case) -> Word:
    """Where nothing was said, as by a server that filters, there is nothing to judge and nothing to learn."""
    return Word("invalid", False, EMPTY) if is_empty(response.text) else await guard.judge(case, response.text)


def _count_labels(job: Job[VerdictsConfig]) -> dict[str, object]:
    labels: Counter[str] = Counter()
    questions: Counter[str] = Counter()
    unread, last = 0, ""
    for verdict in job.run.read(PLAN.stage, Verdict):
        labels[verdict.label] += 1
        unread += verdict.label == "invalid" and verdict.raw != EMPTY
        # The answers to a question lie together, and have its label in common.
        if verdict.question_id != last and verdict.prompt_label:
            questions[verdict.prompt_label] += 1
        last = verdict.question_id
    rows = labels.total()
    if too_many_unknown(unread, rows, job.settings.most_invalid):
        raise GateError(
            f"{unread} of {rows} verdicts could not be read, more than {job.settings.most_invalid:.0%}",
            where=f"verdicts by {job.settings.guard}",
            then="see their `raw` column in tables/verdicts.parquet; use another guard, or raise verdicts.most_invalid",
        )
    return {"labels": dict(labels), "questions": dict(questions)}
