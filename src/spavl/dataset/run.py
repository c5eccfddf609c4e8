"""dataset: Preference -> Sample rows, each teaching one thing, and the files to publish."""

from spavl.dataset.audit import audit_splits
from spavl.dataset.config import PLAN, DatasetConfig
from spavl.dataset.export import export
from spavl.records import Category, Image, Preference, Question, Response, Sample, Verdict
from spavl.stage import Job, Made, reject, run_rows
from spavl.store import Manifest


async def run(job: Job[DatasetConfig]) -> Manifest:
    read = job.run.read
    images = {image.id: image for image in read("images", Image)}
    audit_splits(images.values())
    questions = {question.id: question for question in read("questions", Question)}
    responses = {response.id: response for response in read("responses", Response)}
    verdicts = {verdict.response_id: verdict for verdict in read("verdicts", Verdict)}
    preferences = list(read("preferences", Preference))

    async def work(preference: Preference) -> Made[Sample]:
        if preference.chosen is None or preference.rejected is None or preference.contrast is None:
            return Made(rejects=[reject(preference, preference.overall)])
        chosen, rejected = responses[preference.chosen], responses[preference.rejected]
        question = questions[preference.question_id]
        if reason := _teaches_nothing_good(question, chosen, rejected, verdicts[chosen.id], job.settings):
            return Made(rejects=[reject(preference, reason)])
        image = images[question.image_id]
        sample = Sample(
            split=image.split,
            leaf=image.leaf,
            blob=image.blob,
            image_id=image.id,
            question_id=question.id,
            preference_id=preference.id,
            kind=question.kind,
            harmful=question.harmful,
            contrast=preference.contrast,
            question=question.text,
            chosen=chosen.text,
            rejected=rejected.text,
            chosen_model=chosen.model,
            rejected_model=rejected.model,
        )
        return Made([sample])

    return await run_rows(job, PLAN, preferences, len(preferences), work, lambda: _export(job))


def _teaches_nothing_good(
    question: Question, chosen: Response, rejected: Response, verdict: Verdict, settings: DatasetConfig
) -> str | None:
    """Why a pair with a winner is left out all the same, if it is."""
    if settings.drop_unsafe_chosen and verdict.label != "safe":
        return f"chosen_{verdict.label}"
    if settings.drop_refusing_chosen and verdict.refused and not question.harmful:
        return "chosen_refuses_harmless"
    return "same_text" if chosen.text == rejected.text else None


def _export(job: Job[DatasetConfig]) -> dict[str, object]:
    read = job.run.read
    leaves = {category.leaf: category for category in read("taxonomy", Category)}
    rows: dict[str, object] = {}
    for split in ("train", "validation"):
        samples = [sample for sample in read(PLAN.stage, Sample) if sample.split == split]
        export(job.run.path / "dataset", split, samples, leaves, job.run.blobs)
        rows[split] = len(samples)
    return rows
