"""questions: Image -> Question rows; three a picture in training, one a picture in the tests."""

from collections.abc import Collection

from spavl.models.types import Picture, Reply
from spavl.questions.config import PLAN, QuestionsConfig
from spavl.questions.writing import KINDS, read_prompts, unfit, write
from spavl.records import Category, Image, Question, QuestionKind, Reject
from spavl.stage import Job, Made, reject, run_rows
from spavl.store import Manifest
from spavl.trial import few


async def run(job: Job[QuestionsConfig]) -> Manifest:
    prompts = read_prompts(job.settings.prompts)
    writer = job.models.open(job.settings.writer, PLAN.stage)
    leaves = {category.id: category for category in job.run.read("taxonomy", Category)}
    images = list(job.run.read("images", Image))
    twins = {image.twin_of: image for image in images if image.twin_of}
    originals = few(images, job.limit)

    async def work(image: Image) -> Made[Question]:
        picture = Picture(image.blob, job.run.blobs.get(image.blob))
        kinds, category = kinds_for(image), leaves[image.category_id]
        written = await write(writer, prompts, job.settings, picture, category, kinds, job.seed)
        rows: list[Question] = []
        rejects: list[Reject] = []
        for kind in kinds:
            reply = written[kind]
            if reason := unfit(reply, {row.text for row in rows}):
                rejects.append(reject(image, reason, reply.text))
                continue
            question = _question(image, kind, reply, writer.name, None)
            rows.append(question)
            if twin := twins.get(image.id):
                rows.append(_question(twin, kind, reply, writer.name, question.id))
        return Made(rows, rejects)

    return await run_rows(job, PLAN, originals, len(originals), work)


def kinds_for(image: Image) -> Collection[QuestionKind]:
    """All kinds in training; in the tests one, so that no two tested questions share a picture."""
    if image.split in ("train", "validation"):
        return KINDS
    return (KINDS[int(image.blob[:8], 16) % len(KINDS)],)


def _question(image: Image, kind: QuestionKind, reply: Reply, writer: str, twin_of: str | None) -> Question:
    return Question(
        image_id=image.id,
        kind=kind,
        text=reply.text,
        harmful=image.harmful,
        twin_of=twin_of,
        writer=writer,
        call=reply.call,
    )
