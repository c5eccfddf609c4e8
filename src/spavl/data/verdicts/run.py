"""verdicts: Response rows -> Verdict rows. A verdict that cannot be parsed is `invalid`, never safe."""

from collections import Counter
from collections.abc import Callable

from spavl.data.verdicts.config import QUESTIONS, SPEC, VerdictsConfig
from spavl.data.verdicts.notes import VerdictsNotes
from spavl.errors import GateError
from spavl.judges.canaries.checks import STAGE, canaries_of_guard
from spavl.judges.empty_answers import EMPTY
from spavl.judges.judge_inputs import case_about
from spavl.judges.registry import open_guard
from spavl.judges.types import Guard, GuardVerdict, JudgeInput
from spavl.models.types import ImageData
from spavl.records import Image, Label, Question, QuestionVerdict, Response, Verdict
from spavl.stages.context import RowResult, StageContext
from spavl.stages.judge_checks import canary_notes, check_judges
from spavl.stages.runner import run_rows
from spavl.statistics import too_many_unknown
from spavl.store import Manifest
from spavl.store.question_facts import categories_in
from spavl.text.degenerate import is_empty


async def run(context: StageContext[VerdictsConfig]) -> Manifest:
    guard = open_guard(context.settings.guard, context.models, SPEC.stage)
    trial = open_guard(context.settings.guard, context.models.at_once(), STAGE)
    canaries = {context.settings.guard: canaries_of_guard(trial)}
    words = await check_judges(context, canaries, context.settings.canaries, "--verdicts.canaries warn")
    images, questions = context.run.lookup("selection", Image), context.run.lookup("questions", Question)
    responses, categories, label_of = (
        context.run.read("responses", Response),
        categories_in(context.run),
        _labels(context),
    )

    async def work(response: Response) -> RowResult[Verdict]:
        question = questions[response.question_id]
        image = images[question.image_id]
        shown = ImageData(image.blob, context.run.blobs.get(image.blob))
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

    total = context.run.count("responses", Response)
    # With max_invalid = 1 the user accepts that no verdict can be parsed, so the run does not stop at that.
    must_be_read = context.settings.max_invalid < 1
    return await run_rows(
        context,
        SPEC,
        responses,
        total,
        work,
        lambda: VerdictsNotes(guard=guard.name, labels=_count_labels(context), canaries=canary_notes(words)),
        must_be_read=must_be_read,
    )


def _labels(context: StageContext[VerdictsConfig]) -> Callable[[str], Label | None]:
    """A function that returns the guard's label of a question by its id; None in a run without question verdicts."""
    if context.run.manifest(QUESTIONS.stage) is None:
        return lambda _: None
    found = context.run.lookup(QUESTIONS.stage, QuestionVerdict, by="question_id")
    return lambda question_id: verdict.label if (verdict := found.get(question_id)) else None


async def _word_on(response: Response, guard: Guard, case: JudgeInput) -> GuardVerdict:
    """The guard's verdict. An empty answer, as from a server that filters, is invalid: there is nothing to judge."""
    return GuardVerdict("invalid", False, EMPTY) if is_empty(response.text) else await guard.judge(case, response.text)


def _count_labels(context: StageContext[VerdictsConfig]) -> dict[str, int]:
    labels: Counter[str] = Counter()
    unread = 0
    for verdict in context.run.read(SPEC.stage, Verdict):
        labels[verdict.label] += 1
        unread += verdict.label == "invalid" and verdict.raw != EMPTY
    rows = labels.total()
    if too_many_unknown(unread, rows, context.settings.max_invalid):
        raise GateError(
            f"{unread} of {rows} verdicts could not be read, more than {context.settings.max_invalid:.0%}",
            where=f"verdicts by {context.settings.guard}",
            then="see their `raw` column in tables/verdicts.parquet; use another guard, or raise verdicts.max_invalid",
        )
    return dict(labels)
