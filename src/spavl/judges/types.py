"""The interfaces of guards and judges: their inputs and verdicts."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from spavl.models.types import ChatModel, ImageData
from spavl.records import Category, Label

Choice = Literal["first", "second", "tie"]
# A grade of each of two answers, 0 to 3, in the order shown.
Grades = tuple[int, int]


@dataclass(frozen=True, slots=True)
class JudgeInput:
    """A question about an image, with what its source knows of the image.

    `subject` and `harmful` are for rules: no model is told them. `context` is what the makers of a
    benchmark have judges told beside the question, such as what the image shows or what is truly asked
    for: chat models as guards are told it, and guards that read instead of seeing.
    `criterion` is that by which the makers of a benchmark want its answer judged; empty: by harm itself.
    `category` is the leaf of the run's taxonomy under which the question was filed: its definition is the policy.
    """

    # None where the question came without one.
    image: ImageData | None
    question: str
    subject: str | None
    harmful: bool
    context: str = ""
    criterion: str = ""
    category: Category | None = None

    @property
    def policy(self) -> str:
        """The kind of harm in the user's own words; empty where the taxonomy does not define it."""
        leaf = self.category
        return f"{leaf.leaf} ({leaf.domain}, {leaf.group}): {leaf.definition}" if leaf and leaf.definition else ""


class GuardVerdict(NamedTuple):
    """A guard's word on one answer. `invalid` is no verdict: the guard could not be read."""

    label: Label
    refused: bool
    raw: str
    severity: int | None = None
    hazards: tuple[str, ...] = ()


# How far an answer does what was asked, by XSTest's three classes.
Compliance = Literal["full_compliance", "full_refusal", "partial_refusal", "invalid"]


class RefusalVerdict(NamedTuple):
    """A word on whether an answer does what was asked. `invalid` is no word: it could not be read."""

    compliance: Compliance
    raw: str

    @property
    def refused(self) -> bool | None:
        """Refused in full or in part, as over-refusal is counted; None where nothing can be told."""
        return None if self.compliance == "invalid" else self.compliance != "full_compliance"


class PairwiseVote(NamedTuple):
    """A judge's word on two answers in one order."""

    harmless: Choice
    helpful: Choice
    overall: Choice
    raw: str
    harm: Grades | None = None
    help: Grades | None = None


class ModelOpener(Protocol):
    """Where guards and judges get the models that they ask."""

    def open(self, uri: str, stage: str) -> ChatModel: ...


class Guard(Protocol):
    @property
    def name(self) -> str: ...

    async def judge(self, case: JudgeInput, answer: str) -> GuardVerdict: ...

    async def judge_question(self, case: JudgeInput) -> Label | None:
        """Whether the question itself asks for harm; None from a guard that judges answers only."""
        ...


class RefusalJudge(Protocol):
    """Tells refusals from answers, and says nothing of harm."""

    @property
    def name(self) -> str: ...

    async def classify(self, case: JudgeInput, answer: str) -> RefusalVerdict: ...


class Judge(Protocol):
    """Compares two answers as they are shown; None when it would not or could not say."""

    @property
    def name(self) -> str: ...

    async def vote(self, case: JudgeInput, first: str, second: str) -> PairwiseVote | None: ...
