"""Selects the rows that the page shows, by id. Ids are hashes, so the selection is random but reproducible."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, product

from spavl.evaluation.before_after.config import AFTER, BEFORE
from spavl.evaluation.before_after.results import JudgedAnswer
from spavl.records import Contrast, Image, Question, QuestionKind, Sample
from spavl.report.data_urls import EmbeddedImage, embedded_image
from spavl.store.blobs import Blobs

_CONTRASTS: tuple[Contrast, ...] = ("safety", "helpfulness", "both")
_KINDS: tuple[QuestionKind, ...] = ("easy", "hard", "statement")
_SHOWN_OF_EACH = 3
_FAULTS = ("unsafe", "over-refusing", "unreadable")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionCard:
    """A question about an image; `pair` is None if no pair of its answers is in the data set."""

    image: EmbeddedImage | None
    leaf: str
    kind: QuestionKind
    harmful: bool | None
    question: str
    # Its relation to a harmful question: benign twin or harmless neighbour.
    companion: str
    pair: Sample | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleRow:
    """A row of the data set; a harmful one comes with its harmless companion."""

    card: QuestionCard
    twin: QuestionCard | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAfterExample:
    """One question's answers before and after training; `fault` names what is wrong with the latter."""

    image: EmbeddedImage | None
    leaf: str
    harmful: bool
    question: str
    before: JudgedAnswer | None
    after: JudgedAnswer | None
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFaults:
    """How often each fault was found among the answers after training."""

    answers: int
    unsafe: int
    over_refusing: int
    unreadable: int

    @property
    def total(self) -> int:
        return self.unsafe + self.over_refusing + self.unreadable


class RecordsById:
    """Questions, images and twins by id."""

    def __init__(self, blobs: Blobs, questions: Sequence[Question], images: Sequence[Image]) -> None:
        self._blobs = blobs
        self._questions = {question.id: question for question in questions}
        self._images = {image.id: image for image in images}
        beside = ((question.twin_of or question.neighbour_of, question) for question in questions)
        self._twins = {original: question for original, question in beside if original}

    def question(self, question_id: str) -> str:
        found = self._questions.get(question_id)
        return found.text if found else f"(question {question_id[:12]} is not in this run's table)"

    def twin(self, question_id: str) -> Question | None:
        return self._twins.get(question_id)

    def image(self, image_id: str) -> EmbeddedImage | None:
        found = self._images.get(image_id)
        return embedded_image(self._blobs, found.blob) if found else None

    def image_of_blob(self, blob: str) -> EmbeddedImage | None:
        return embedded_image(self._blobs, blob)

    def shown_with(self, question_id: str) -> tuple[EmbeddedImage | None, str]:
        """The image that a question is about, and its leaf."""
        asked = self._questions.get(question_id)
        found = self._images.get(asked.image_id) if asked else None
        return (embedded_image(self._blobs, found.blob), found.leaf) if found else (None, "")

    def card(self, question: Question, pair: Sample | None) -> QuestionCard:
        image = self._images.get(question.image_id)
        return QuestionCard(
            image=self.image(question.image_id),
            leaf=pair.leaf if pair else image.leaf if image else "",
            kind=question.kind,
            harmful=question.harmful,
            question=question.text,
            companion="benign twin" if question.twin_of else "harmless neighbour",
            pair=pair,
        )

    def card_of(self, pair: Sample) -> QuestionCard:
        return QuestionCard(
            image=embedded_image(self._blobs, pair.blob),
            leaf=pair.leaf,
            kind=pair.kind,
            harmful=pair.harmful,
            question=pair.question,
            companion="",
            pair=pair,
        )


def choose_examples(samples: Sequence[Sample], library: RecordsById) -> tuple[ExampleRow, ...]:
    """The first row by id of each contrast and question kind; rows with a twin in the data set take precedence."""
    by_id = sorted(samples, key=lambda sample: sample.id)
    by_question: dict[str, Sample] = {}
    for sample in by_id:
        by_question.setdefault(sample.question_id, sample)

    def has_twin(sample: Sample) -> bool:
        twin = library.twin(sample.question_id)
        return twin is not None and twin.id in by_question

    def example(sample: Sample) -> ExampleRow:
        twin = library.twin(sample.question_id)
        beside = library.card(twin, by_question.get(twin.id)) if twin else None
        return ExampleRow(card=library.card_of(sample), twin=beside)

    chosen: list[ExampleRow] = []
    shown: set[str] = set()
    for contrast, kind in product(_CONTRASTS, _KINDS):
        alike = [sample for sample in by_id if sample.contrast == contrast and sample.kind == kind]
        new = sorted((sample for sample in alike if sample.id not in shown), key=lambda sample: not has_twin(sample))
        for found in map(example, new[:1]):
            chosen.append(found)
            shown |= {card.pair.id for card in (found.card, found.twin) if card and card.pair}
    return tuple(chosen)


def choose_comparisons(answers: Sequence[JudgedAnswer], library: RecordsById) -> tuple[BeforeAfterExample, ...]:
    """The first few harmful and harmless questions by id, then the first of each fault not yet among them."""
    before, after = _by_question(answers, BEFORE), _by_question(answers, AFTER)
    ids = sorted(before.keys() | after.keys())

    def judged_answer(question_id: str) -> JudgedAnswer:
        return after[question_id] if question_id in after else before[question_id]

    harmful = islice((one for one in ids if judged_answer(one).is_harmful), _SHOWN_OF_EACH)
    harmless = islice((one for one in ids if not judged_answer(one).is_harmful), _SHOWN_OF_EACH)
    shown = [*harmful, *harmless]
    for fault in _FAULTS:
        alike = [one for one in ids if one in after and fault_of(after[one]) == fault and one not in shown]
        shown += alike[:_SHOWN_OF_EACH]
    return tuple(
        BeforeAfterExample(
            image=library.image_of_blob(judged_answer(one).item.blob),
            leaf=judged_answer(one).item.group,
            harmful=judged_answer(one).is_harmful,
            question=judged_answer(one).item.question,
            before=before.get(one),
            after=after.get(one),
            fault=fault_of(after[one]) if one in after else None,
        )
        for one in shown
    )


def fault_of(answer: JudgedAnswer) -> str | None:
    """What is wrong with an answer, if anything is."""
    if answer.unsafe is None:
        return "unreadable"
    if answer.is_harmful and answer.unsafe:
        return "unsafe"
    return "over-refusing" if not answer.is_harmful and answer.refused else None


def faults_of(answers: Iterable[JudgedAnswer]) -> AnswerFaults | None:
    found = [fault_of(answer) for answer in answers if answer.model == AFTER]
    if not found:
        return None
    return AnswerFaults(
        answers=len(found),
        unsafe=found.count("unsafe"),
        over_refusing=found.count("over-refusing"),
        unreadable=found.count("unreadable"),
    )


def _by_question(answers: Iterable[JudgedAnswer], arm: str) -> dict[str, JudgedAnswer]:
    found: dict[str, JudgedAnswer] = {}
    for answer in answers:
        if answer.model == arm:
            found.setdefault(answer.item.key, answer)
    return found
