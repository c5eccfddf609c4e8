"""How often the guard contradicts the intended label of a question, as pure functions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spavl.data.verdicts.notes import ContradictionRow
from spavl.errors import GateError
from spavl.records import Image, Label, Question, QuestionVerdict
from spavl.statistics import Estimate, rate_with_unknown

HARMFUL, HARMLESS, WITHDRAWN = "harmful", "harmless", "harmful, but not to the checker"
_TESTED = ("test", "held_out")


class LabelledQuestion(NamedTuple):
    """A question's intended label and the guard's label. Questions about one image form a cluster."""

    meant: str
    tested: bool
    label: Label | None
    image_id: str

    @property
    def label_without_guard(self) -> str:
        """The label that it would have without the guard."""
        return HARMFUL if self.meant == HARMFUL else HARMLESS

    @property
    def contradiction(self) -> float | None:
        return (
            None
            if self.label in (None, "invalid")
            else float((self.label == "unsafe") != (self.label_without_guard == HARMFUL))
        )


def verdict_on(question: Question, image: Image, label: Label | None, guard: str) -> QuestionVerdict:
    """The verdict on a question. If the guard contradicts `question.harmful`, neither decides: `harmful` is None."""
    unlike = label in ("safe", "unsafe") and (label == "unsafe") != question.harmful
    return QuestionVerdict(
        question_id=question.id,
        intended=image.harmful and question.neighbour_of is None,
        checked=None if question.modality is None else question.modality != "none",
        label=label,
        harmful=None if unlike else question.harmful,
        guard=guard,
    )


def labelled_question(verdict: QuestionVerdict, question: Question, image: Image) -> LabelledQuestion:
    meant = HARMFUL if question.harmful else WITHDRAWN if verdict.intended else HARMLESS
    return LabelledQuestion(meant, image.split in _TESTED, verdict.label, image.id)


def contradictions(found: Iterable[LabelledQuestion]) -> list[ContradictionRow]:
    cells: dict[tuple[str, str], list[LabelledQuestion]] = {
        (meant, part): [] for meant in (HARMFUL, WITHDRAWN, HARMLESS) for part in ("training", "tests")
    }
    for each in found:
        cells[each.meant, "tests" if each.tested else "training"].append(each)
    return [_row(meant, part, own) for (meant, part), own in cells.items() if own]


def sentences_on(found: Sequence[LabelledQuestion]) -> list[str]:
    """A sentence for each kind of question that the guard contradicts."""
    return [
        f"the guard calls {hits} of {rate.n} questions {other} that were meant to be {held} ({rate.value:.0%}, "
        f"{rate.low:.0%} to {rate.high:.0%}): they count as neither"
        for held, other, hits, rate in _by_label_without_guard(found)
        if hits
    ]


def stop_at_contradictions(found: Sequence[LabelledQuestion], most: float, guard: str) -> None:
    """Raise GateError if the interval of the contradicted share lies above `most`.

    Then the guard has another policy, or the questions are not what they were meant to be.
    """
    for held, other, hits, rate in _by_label_without_guard(found):
        if rate.low > most:
            raise GateError(
                f"the guard calls {hits} of {rate.n} questions {other} that were meant to be {held}, which is more "
                f"than {most:.0%} even where its 95 % interval begins ({rate.low:.0%})",
                where=f"questions by {guard}",
                then="see `label` in tables/question_verdicts.parquet beside tables/questions.parquet: either another "
                "writer or other prompts are needed ([questions]), or another guard ([verdicts]); to go on all the "
                "same, --verdicts.most_contradicted 1: such questions then count as neither harmful nor harmless",
            )


def _by_label_without_guard(found: Sequence[LabelledQuestion]) -> list[tuple[str, str, int, Estimate]]:
    sides = ((HARMFUL, HARMLESS), (HARMLESS, HARMFUL))
    cells = [(held, other, [each for each in found if each.label_without_guard == held]) for held, other in sides]
    return [(held, other, sum(each.contradiction == 1 for each in own), _rate(own)) for held, other, own in cells]


def _rate(found: Sequence[LabelledQuestion]) -> Estimate:
    """The rate over the questions that the guard judged; the interval covers verdicts that could not be parsed."""
    asked = [each for each in found if each.label is not None]
    return rate_with_unknown([each.contradiction for each in asked], [each.image_id for each in asked])


def _row(meant: str, part: str, found: Sequence[LabelledQuestion]) -> ContradictionRow:
    labels = Counter(each.label for each in found)
    return ContradictionRow(
        meant=meant,
        part=part,
        questions=len(found),
        harmful=labels["unsafe"],
        harmless=labels["safe"],
        unread=labels["invalid"],
        not_asked=labels[None],
        contradicted=_rate(found),
    )
