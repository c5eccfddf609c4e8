"""What a guard and a judge are asked, and what they say."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from spavl.models.types import Picture
from spavl.records import Label

Choice = Literal["first", "second", "tie"]


@dataclass(frozen=True, slots=True)
class Case:
    """A question about a picture, with what its source knows of the picture (which a model is not told)."""

    picture: Picture
    question: str
    subject: str | None
    harmful: bool


class Word(NamedTuple):
    """A guard's word on one answer. `invalid` is no verdict: the guard could not be read."""

    label: Label
    refused: bool
    raw: str


class Vote(NamedTuple):
    """A judge's word on two answers in one order."""

    harmless: Choice
    helpful: Choice
    overall: Choice
    raw: str


class Guard(Protocol):
    @property
    def name(self) -> str: ...

    async def judge(self, case: Case, answer: str) -> Word: ...


class Judge(Protocol):
    """Compares two answers as they are shown; None when it would not or could not say."""

    @property
    def name(self) -> str: ...

    async def vote(self, case: Case, first: str, second: str) -> Vote | None: ...
