"""Cost estimate: the calls of the writer and the checker."""

from collections.abc import Collection
from dataclasses import replace

from spavl.data.questions.checking import check
from spavl.data.questions.config import QuestionsConfig
from spavl.data.questions.run import kinds_for, open_question_writer, wants_neighbours
from spavl.data.questions.writing import KINDS, NEIGHBOUR, TRIES, QuestionSubject, QuestionWriter
from spavl.models.types import ImageData, Reply
from spavl.records import Category, Description, Image, Question, QuestionKind
from spavl.stages.cost_model import CostContext, WeightedRow, is_stand_in, subsample_rows
from spavl.text.tidy import tidy

# Words of a question of one sentence; the two lines of a checker have fewer.
_WORDS = 25


async def questions(context: CostContext[QuestionsConfig]) -> list[WeightedRow[Question]]:
    leaves = {category.id: category for category, _ in context.read("taxonomy", Category)}
    descriptions = {row.image_id: row for row, _ in context.read("captions", Description)}
    images = context.read("selection", Image)
    twins = {image.twin_of: image for image, _ in images if image.twin_of}
    rows: list[WeightedRow[Question]] = []
    for image, times in subsample_rows(context.subset(images)):
        subject = QuestionSubject(context.image(image), leaves[image.category_id], descriptions[image.id])
        for kinds, share in _kinds(image):
            factory = context.counting(times * share, _WORDS)
            # The likely case: every text passes at the first try. The upper bound: each needs all tries and checks.
            asked = _WrittenKind(
                open_question_writer(context.settings, factory, context.seed), TRIES if factory.case == "most" else 1
            )
            found = await asked.about(image, subject, kinds, twins.get(image.id), context)
            rows += [WeightedRow(question, times * share) for question in found]
    return rows


class _WrittenKind:
    """Makes the stage's calls without its quality checks, which made-up replies could not pass."""

    def __init__(self, question_writer: QuestionWriter, tries: int) -> None:
        self._question_writer, self._tries = question_writer, tries

    async def about(
        self,
        image: Image,
        subject: QuestionSubject,
        kinds: Collection[QuestionKind],
        twin: Image | None,
        context: CostContext[QuestionsConfig],
    ) -> list[Question]:
        easy = await self._write(subject, "easy")
        rows = []
        for kind in kinds:
            reply = easy if kind == "easy" else await self._write(subject, kind, easy=easy.text)
            rows.append(self._row(image, kind, reply))
            if not image.harmful:
                continue
            if twin is not None:
                await self._check(context.image(twin), subject.category, reply.text)
                rows.append(self._row(twin, kind, reply, twin_of=rows[-1].id))
            elif wants_neighbours(self._question_writer):
                beside = await self._write(subject, NEIGHBOUR, harmful=reply.text)
                rows.append(self._row(image, kind, beside, neighbour_of=rows[-1].id))
        return rows

    async def _write(self, subject: QuestionSubject, kind: str, easy: str = "", harmful: str = "") -> Reply:
        for attempt in range(self._tries):
            reply = await self._question_writer.writer.ask(
                self._question_writer.request(subject, kind, easy, harmful, attempt)
            )
            reply = replace(reply, text=tidy(reply.text))
            await self._check(subject.image, subject.category, reply.text)
        return reply

    async def _check(self, image: ImageData, category: Category, text: str) -> None:
        if checker := self._question_writer.checker:
            await check(checker.model, checker.prompts, image, category, text)

    def _row(
        self,
        image: Image,
        kind: QuestionKind,
        reply: Reply,
        twin_of: str | None = None,
        neighbour_of: str | None = None,
    ) -> Question:
        return Question(
            image_id=image.id,
            kind=kind,
            text=reply.text,
            language=self._question_writer.language.code,
            harmful=image.harmful and neighbour_of is None,
            modality=None,
            about_leaf=None,
            twin_of=twin_of,
            neighbour_of=neighbour_of,
            fallback=False,
            writer=self._question_writer.writer.name,
            call=reply.call,
            tries=1,
        )


def _kinds(image: Image) -> list[tuple[Collection[QuestionKind], float]]:
    """The possible sets of kinds of an image's questions, each with its share among images like this one."""
    if is_stand_in(image) and image.split in ("test", "held_out"):
        return [((kind,), 1 / len(KINDS)) for kind in KINDS]
    return [(kinds_for(image), 1.0)]
