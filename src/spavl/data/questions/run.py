"""questions: Image and Description rows -> Question rows; three for a training image, one for a test image.

Each harmful question has a harmless counterpart: the same words about the image's benign twin,
or, without a twin, a neighbour: other words about the same image.
"""

from collections import Counter
from collections.abc import Collection

from spavl.data.questions.checking import PROMPT
from spavl.data.questions.config import SPEC, QuestionsConfig
from spavl.data.questions.notes import QuestionsNotes
from spavl.data.questions.writing import (
    KINDS,
    NEIGHBOUR,
    PLACES,
    QuestionChecker,
    QuestionSubject,
    QuestionWriter,
    WrittenQuestion,
)
from spavl.models.factory import ModelFactory
from spavl.models.prompts import Prompts, read_prompts
from spavl.models.types import ImageData
from spavl.records import Category, Description, Image, Question, QuestionKind, Reject
from spavl.stages.context import RowResult, StageContext, reject
from spavl.stages.runner import run_rows
from spavl.stages.subset import subsample_images
from spavl.store import Manifest
from spavl.text.language import language_named

_OURS = "v1"


async def run(context: StageContext[QuestionsConfig]) -> Manifest:
    question_writer = open_question_writer(context.settings, context.models, context.seed)
    leaves = {category.id: category for category in context.run.read("taxonomy", Category)}
    descriptions = context.run.lookup("captions", Description, by="image_id")
    twins = context.run.lookup("selection", Image, by="twin_of")
    originals = subsample_images(context.run.read("selection", Image), context.limit)

    async def work(image: Image) -> RowResult[Question]:
        image_data = ImageData(image.blob, context.run.blobs.get(image.blob))
        subject = QuestionSubject(image_data, leaves[image.category_id], descriptions[image.id])
        twin = twins.get(image.id)
        seen = None if twin is None else ImageData(twin.blob, context.run.blobs.get(twin.blob))
        questions = _ImageQuestions(question_writer, image, subject)
        wanted = kinds_for(image)
        easy = await questions.write("easy")
        for kind in wanted:
            written = easy if kind == "easy" else await questions.write(kind, easy="" if easy.fault else easy.text)
            question = questions.keep(kind, written)
            if question is not None and question.harmful:
                if twin is not None and seen is not None:
                    await questions.double(question, twin, seen)
                elif wants_neighbours(question_writer):
                    await questions.add_neighbour(question)
        return RowResult(questions.rows, questions.rejects)

    return await run_rows(context, SPEC, originals, len(originals), work, lambda: _notes(context))


def open_question_writer(settings: QuestionsConfig, models: ModelFactory, seed: int) -> QuestionWriter:
    prompts = _prompts(settings.prompts)
    checker = None
    if settings.checker:
        # If the user's prompts have none for the checker, the shipped one is used.
        checks = prompts if PROMPT in prompts else _prompts(_OURS)
        checker = QuestionChecker(models.open(settings.checker, SPEC.stage), checks)
    language = language_named(settings.language, "questions.language")
    return QuestionWriter(models.open(settings.writer, SPEC.stage), prompts, settings, language, checker, seed)


def wants_neighbours(question_writer: QuestionWriter) -> bool:
    """Whether to write neighbours: if the setting is on and the prompts have one for them."""
    return question_writer.settings.neighbours and NEIGHBOUR in question_writer.prompts


def _prompts(name: str) -> Prompts:
    return read_prompts("spavl.data.questions", name, "questions.prompts", needs=KINDS, knows=PLACES)


def kinds_for(image: Image) -> Collection[QuestionKind]:
    """All kinds for training and validation; else one kind, so that no two test questions share an image."""
    if image.split in ("train", "validation"):
        return KINDS
    return (KINDS[int(image.blob[:8], 16) % len(KINDS)],)


class _ImageQuestions:
    """The questions written about one image: the rows kept, and the rejects."""

    def __init__(self, question_writer: QuestionWriter, image: Image, subject: QuestionSubject) -> None:
        self._question_writer, self._image, self._subject = question_writer, image, subject
        self.rows: list[Question] = []
        self.rejects: list[Reject] = []

    async def write(self, kind: QuestionKind, easy: str = "") -> WrittenQuestion:
        return await self._question_writer.write(self._subject, kind, self._earlier(), easy=easy)

    def keep(self, kind: QuestionKind, written: WrittenQuestion) -> Question | None:
        if written.fault is not None:
            self.rejects.append(reject(self._image, written.fault, f"{kind}: {written.text}"))
            return None
        harmful = self._image.harmful and written.modality != "none"
        return self._row(self._image, kind, written, harmful=harmful)

    async def double(self, question: Question, twin: Image, seen: ImageData) -> None:
        """Add the same words about the benign twin, unless the checker finds them harmful there too."""
        found, fault = await self._question_writer.check(seen, self._subject.category, question.text)
        if found is not None and found.modality != "none":
            fault = "twin_harmful"
        written = WrittenQuestion(question.text, question.call, fault, found, question.tries)
        if fault is None:
            self._row(twin, question.kind, written, harmful=False, twin_of=question.id)
        else:
            self.rejects.append(reject(twin, fault, f"{question.kind}: {question.text}"))

    async def add_neighbour(self, question: Question) -> None:
        written = await self._question_writer.write(self._subject, NEIGHBOUR, self._earlier(), harmful=question.text)
        if written.fault is None:
            self._row(self._image, question.kind, written, harmful=False, neighbour_of=question.id)
        else:
            self.rejects.append(reject(question, written.fault, f"neighbour: {written.text}"))

    def _earlier(self) -> set[str]:
        return {row.text for row in self.rows}

    def _row(
        self,
        image: Image,
        kind: QuestionKind,
        written: WrittenQuestion,
        *,
        harmful: bool,
        twin_of: str | None = None,
        neighbour_of: str | None = None,
    ) -> Question:
        question = Question(
            image_id=image.id,
            kind=kind,
            text=written.text,
            language=self._question_writer.language.code,
            harmful=harmful,
            modality=written.modality,
            about_leaf=written.about_leaf,
            twin_of=twin_of,
            neighbour_of=neighbour_of,
            fallback=self._subject.description.fallback,
            writer=self._question_writer.writer.name,
            call=written.call,
            tries=written.tries,
        )
        self.rows.append(question)
        return question


def _notes(context: StageContext[QuestionsConfig]) -> QuestionsNotes:
    kinds: Counter[str] = Counter()
    modality: Counter[str] = Counter()
    second_tries = of_fallback = 0
    language = language_named(context.settings.language, "questions.language")
    for row in context.run.read(SPEC.stage, Question):
        kinds["twin" if row.twin_of else "neighbour" if row.neighbour_of else row.kind] += 1
        if row.twin_of is None:
            modality[row.modality or "not asked"] += 1
            second_tries += row.tries > 1
            of_fallback += row.fallback
    return QuestionsNotes(
        kinds=dict(kinds),
        modality=dict(sorted(modality.items())) if context.settings.checker else {},
        second_tries=second_tries,
        of_fallback=of_fallback,
        unchecked_language="" if language.script else language.name,
    )
