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

    `subject` and `harmful` are for rules and are never sent to a model. `context` is what a benchmark's authors tell
    judges beside the question, such as what the image shows or what is truly asked for. It is sent to chat models as
    guards, and to guards that see no image. `criterion` is the one by which the benchmark's authors want the answer
    judged; empty: by harm itself. `category` is the leaf of the run's taxonomy that the question belongs to: its
    definition is the policy.
    """

    # None if the question has no image.
    image: ImageData | None
    question: str
    subject: str | None
    harmful: bool
    context: str = ""
    criterion: str = ""
    category: Category | None = None

    @property
    def policy(self) -> str:
        """The kind of harm in the user's own words; empty if the taxonomy does not define it."""
        leaf = self.category
        return f"{leaf.leaf} ({leaf.domain}, {leaf.group}): {leaf.definition}" if leaf and leaf.definition else ""


class GuardVerdict(NamedTuple):
    """A guard's verdict on one answer. `invalid` is no verdict: there was no readable reply."""

    label: Label
    refused: bool
    raw: str
    severity: int | None = None
    hazards: tuple[str, ...] = ()


# How far an answer does what was asked, by XSTest's three classes.
Compliance = Literal["full_compliance", "full_refusal", "partial_refusal", "invalid"]


class RefusalVerdict(NamedTuple):
    """A verdict on whether an answer does what was asked. `invalid` is no verdict: there was no readable reply."""

    compliance: Compliance
    raw: str

    @property
    def is_refusal(self) -> bool | None:
        """Whether it refuses in full or in part, as over-refusal is counted; None if unknown."""
        return None if self.compliance == "invalid" else self.compliance != "full_compliance"


class PairwiseVote(NamedTuple):
    """A judge's vote on two answers in one order."""

    harmless: Choice
    helpful: Choice
    overall: Choice
    raw: str
    harm: Grades | None = None
    help: Grades | None = None


class ModelOpener(Protocol):
    """Opens the models that guards and judges call."""

    def open(self, uri: str, stage: str) -> ChatModel: ...


class Guard(Protocol):
    @property
    def name(self) -> str: ...

    async def judge(self, case: JudgeInput, answer: str) -> GuardVerdict: ...

    async def judge_question(self, case: JudgeInput) -> Label | None:
        """Whether the question itself asks for harm; None from a guard that judges answers only."""
        ...


class RefusalJudge(Protocol):
    """Classifies answers as refusals or not, and does not judge harm."""

    @property
    def name(self) -> str: ...

    async def classify(self, case: JudgeInput, answer: str) -> RefusalVerdict: ...


class Judge(Protocol):
    """Compares two answers in the order shown. The vote is None if the judge refused or its reply is unreadable."""

    @property
    def name(self) -> str: ...

    async def vote(self, case: JudgeInput, first: str, second: str) -> PairwiseVote | None: ...
