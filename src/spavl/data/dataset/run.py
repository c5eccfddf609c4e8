"""dataset: Preference rows -> Sample rows with their contrast, and the files to publish."""

from collections.abc import Iterator

from spavl.data.dataset.audit import AuditedQuestion, find_leaks, stop_at_leaks
from spavl.data.dataset.config import SPEC, DatasetConfig
from spavl.data.dataset.files import write_files
from spavl.data.dataset.notes import DatasetNotes
from spavl.engine.details import open_details
from spavl.records import Contrast, Image, Preference, Question, Response, Sample, Verdict
from spavl.stages.context import RowResult, StageContext, reject
from spavl.stages.runner import run_rows
from spavl.store import Manifest
from spavl.store.files import write_text
from spavl.store.question_facts import contested_in


async def run(context: StageContext[DatasetConfig]) -> Manifest:
    read, lookup, settings = context.run.read, context.run.lookup, context.settings

    def questions_to_audit() -> Iterator[AuditedQuestion]:
        return (
            AuditedQuestion(question.id, question.image_id, question.text) for question in read("questions", Question)
        )

    with open_details(context.run.blobs.get) as details:
        found = find_leaks(read("selection", Image), questions_to_audit, settings.leaks, details.alike)
    write_text(context.run.path / "leaks.jsonl", found.as_lines())
    if not settings.leaks.drop:
        stop_at_leaks(found.leaks)
    leaking = {leak.one.id: leak.reason for leak in found.leaks}
    images, questions, responses = (
        lookup("selection", Image),
        lookup("questions", Question),
        lookup("responses", Response),
    )
    verdicts, contested = lookup("verdicts", Verdict, by="response_id"), contested_in(context.run)

    async def work(preference: Preference) -> RowResult[Sample]:
        if preference.chosen is None or preference.rejected is None or preference.contrast is None:
            return RowResult(rejects=[reject(preference, preference.overall)])
        chosen, rejected = responses[preference.chosen], responses[preference.rejected]
        question = questions[preference.question_id]
        image = images[question.image_id]
        harmful = None if question.id in contested else question.harmful
        reason = leaking.get(image.id) or leaking.get(question.id)
        if reason := reason or _teaches_nothing_good(harmful, chosen, rejected, verdicts[chosen.id], settings):
            return RowResult(rejects=[reject(preference, reason)])
        sample = sample_of(image, question, chosen, rejected, harmful, preference.id, preference.contrast)
        return RowResult([sample])

    total = context.run.count("preferences", Preference)
    inputs = read("preferences", Preference)

    def conclude() -> DatasetNotes:
        return write_files(context.run, settings, settings.test_questions_per_leaf, leaking, len(found.repeated))

    return await run_rows(context, SPEC, inputs, total, work, conclude)


def sample_of(
    image: Image,
    question: Question,
    chosen: Response,
    rejected: Response,
    harmful: bool | None,
    preference_id: str,
    contrast: Contrast,
) -> Sample:
    return Sample(
        split=image.split,
        leaf=image.leaf,
        blob=image.blob,
        image_id=image.id,
        question_id=question.id,
        preference_id=preference_id,
        kind=question.kind,
        harmful=harmful,
        contrast=contrast,
        question=question.text,
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_model=chosen.model,
        rejected_model=rejected.model,
    )


def _teaches_nothing_good(
    harmful: bool | None, chosen: Response, rejected: Response, verdict: Verdict, settings: DatasetConfig
) -> str | None:
    """The reject reason of a pair that has a winner but should not be trained on; else None."""
    if settings.drop_unsafe_chosen and verdict.label != "safe":
        return f"chosen_{verdict.label}"
    if settings.drop_refusing_chosen and verdict.refused and harmful is False:
        return "chosen_refuses_harmless"
    return "same_text" if chosen.text == rejected.text else None
