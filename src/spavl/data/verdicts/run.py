"""verdicts: Response rows -> Verdict rows. A verdict that cannot be parsed is `invalid`, never safe."""

from collections import Counter
from collections.abc import Callable

from spavl.data.verdicts.config import PLAN, QUESTIONS, VerdictsConfig
from spavl.errors import GateError
from spavl.judges.canaries.checks import STAGE, canaries_of_guard
from spavl.judges.empty_answers import EMPTY
from spavl.judges.judge_inputs import case_about
from spavl.judges.registry import open_guard
from spavl.judges.types import Guard, GuardVerdict, JudgeInput
from spavl.models.types import ImageData
from spavl.records import Image, Label, Question, QuestionVerdict, Response, Verdict
from spavl.stages.judge_checks import check_judges, noted
from spavl.stages.runner import RowResult, StageContext, run_rows
from spavl.statistics import too_many_unknown
from spavl.store import Manifest
from spavl.store.question_facts import categories_in
from spavl.text.degenerate import is_empty


async def run(job: StageContext[VerdictsConfig]) -> Manifest:
    guard = open_guard(job.settings.guard, job.models, PLAN.stage)
    trial = open_guard(job.settings.guard, job.models.at_once(), STAGE)
    canaries = {job.settings.guard: canaries_of_guard(trial)}
    words = await check_judges(job, canaries, job.settings.canaries, "--verdicts.canaries warn")
    images, questions = job.run.lookup("selection", Image), job.run.lookup("questions", Question)
    responses, categories, label_of = job.run.read("responses", Response), categories_in(job.run), _labels(job)

    async def work(response: Response) -> RowResult[Verdict]:
        question = questions[response.question_id]
        image = images[question.image_id]
        shown = ImageData(image.blob, job.run.blobs.get(image.blob))
        word = await _word_on(response, guard, case_about(question, image, shown, categories))
        verdict = Verdict(
            response_id=response.id,
            question_id=question.id,
            model=response.model,
            label=word.label,
            severity=word.severity,
            hazards=word.hazards,
            refused=word.refused or response.finish == "refused",
            prompt_label=label_of(question.id),
            guard=guard.name,
            raw=word.raw,
        )
        return RowResult([verdict])

    total = job.run.count("responses", Response)
    # Whoever wants verdicts however few can be read is not kept from them.
    must_be_read = job.settings.max_invalid < 1
    return await run_rows(
        job,
        PLAN,
        responses,
        total,
        work,
        lambda: {"guard": guard.name} | _count_labels(job) | noted(words),
        must_be_read=must_be_read,
    )


def _labels(job: StageContext[VerdictsConfig]) -> Callable[[str], Label | None]:
    """What the guard said of each question, by its id; nothing in a run whose questions it was not asked about."""
    if job.run.manifest(QUESTIONS.stage) is None:
        return lambda _: None
    found = job.run.lookup(QUESTIONS.stage, QuestionVerdict, by="question_id")
    return lambda question_id: verdict.label if (verdict := found.get(question_id)) else None


async def _word_on(response: Response, guard: Guard, case: JudgeInput) -> GuardVerdict:
    """Where nothing was said, as by a server that filters, there is nothing to judge and nothing to learn."""
    return GuardVerdict("invalid", False, EMPTY) if is_empty(response.text) else await guard.judge(case, response.text)


def _count_labels(job: StageContext[VerdictsConfig]) -> dict[str, object]:
    labels: Counter[str] = Counter()
    unread = 0
    for verdict in job.run.read(PLAN.stage, Verdict):
        labels[verdict.label] += 1
        unread += verdict.label == "invalid" and verdict.raw != EMPTY
    rows = labels.total()
    if too_many_unknown(unread, rows, job.settings.max_invalid):
        raise GateError(
            f"{unread} of {rows} verdicts could not be read, more than {job.settings.max_invalid:.0%}",
            where=f"verdicts by {job.settings.guard}",
            then="see their `raw` column in tables/verdicts.parquet; use another guard, or raise verdicts.max_invalid",
        )
    return {"labels": dict(labels)}
