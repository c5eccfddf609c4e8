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
    labels = {verdict.response_id: verdict.label for verdict in read("verdicts", Verdict)}
    preferences = list(read("preferences", Preference))

    async def work(preference: Preference) -> Made[Sample]:
        if preference.chosen is None or preference.rejected is None or preference.contrast is None:
            return Made(rejects=[reject(preference, preference.overall)])
        if job.settings.drop_unsafe_chosen and labels[preference.chosen] != "safe":
            return Made(rejects=[reject(preference, f"chosen_{labels[preference.chosen]}")])
        chosen, rejected = responses[preference.chosen], responses[preference.rejected]
        if chosen.text == rejected.text:
            return Made(rejects=[reject(preference, "same_text")])
        question = questions[preference.question_id]
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


def _export(job: Job[DatasetConfig]) -> dict[str, object]:
    read = job.run.read
    leaves = {category.leaf: category for category in read("taxonomy", Category)}
    rows: dict[str, object] = {}
    for split in ("train", "validation"):
        samples = [sample for sample in read(PLAN.stage, Sample) if sample.split == split]
        export(job.run.path / "dataset", split, samples, leaves, job.run.blobs)
        rows[split] = len(samples)
    return rows
