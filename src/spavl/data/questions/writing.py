"""Asks a model to write a question about an image, checks the text, and retries once if a check fails."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from spavl.data.questions.checking import QuestionCheck, check
from spavl.data.questions.config import QuestionsConfig
from spavl.data.questions.quality_checks import QuestionDraft, first_fault
from spavl.models.prompts import Prompts
from spavl.models.types import ChatModel, ImageData, Request, RequestRejected, ask_about
from spavl.records import Category, Description, Modality, QuestionKind
from spavl.text.language import Language
from spavl.text.tidy import tidy

KINDS: tuple[QuestionKind, ...] = ("easy", "hard", "statement")
NEIGHBOUR = "neighbour"
PLACES = ("domain", "group", "leaf", "definition", "caption", "details", "easy", "harmful", "question", "language")
TRIES = 2
# Fills a place in a prompt that has no value.
_NOTHING = "(none)"


@dataclass(frozen=True, slots=True)
class QuestionChecker:
    model: ChatModel
    prompts: Prompts


@dataclass(frozen=True, slots=True)
class QuestionSubject:
    """What a question is written about."""

    image: ImageData
    category: Category
    description: Description


class WrittenQuestion(NamedTuple):
    """A text that passed the checks, or the last one with its fault. `check` is None if no checker was asked."""

    text: str
    call: str
    fault: str | None
    check: QuestionCheck | None
    tries: int

    @property
    def modality(self) -> Modality | None:
        return self.check.modality if self.check else None

    @property
    def about_leaf(self) -> bool | None:
        return self.check.about_leaf if self.check else None


@dataclass(frozen=True, slots=True)
class QuestionWriter:
    """A writer with its prompts, and a checker if one is set."""

    writer: ChatModel
    prompts: Prompts
    settings: QuestionsConfig
    language: Language
    checker: QuestionChecker | None
    seed: int

    def request(
        self, subject: QuestionSubject, kind: str, easy: str = "", harmful: str = "", attempt: int = 0
    ) -> Request:
        """The request to the writer. Each attempt has its own seed."""
        category, description = subject.category, subject.description
        text = self.prompts.fill(
            kind,
            domain=category.domain,
            group=category.group,
            leaf=category.leaf,
            definition=category.definition,
            caption=description.caption or _NOTHING,
            details=description.details or _NOTHING,
            easy=easy or _NOTHING,
            harmful=harmful,
            language=self.language.name,
        )
        return ask_about(
            subject.image,
            text,
            max_tokens=self.settings.max_tokens,
            temperature=self.settings.temperature,
            top_p=self.settings.top_p,
            seed=self.seed + attempt,
        )

    async def write(
        self, subject: QuestionSubject, kind: str, earlier: Collection[str], easy: str = "", harmful: str = ""
    ) -> WrittenQuestion:
        """Write a text that passes every check, in at most TRIES tries; else the last one, with its fault."""
        written = WrittenQuestion("", "", "refused_by_server", None, 0)
        for attempt in range(TRIES):
            request = self.request(subject, kind, easy, harmful, attempt)
            try:
                reply = await self.writer.ask(request)
            except RequestRejected as error:
                written = WrittenQuestion(str(error), "", "refused_by_server", None, attempt + 1)
                continue
            text = tidy(reply.text)
            draft = QuestionDraft(
                text=text,
                kind=kind,
                refused=reply.finish == "refused",
                cut_off=reply.finish == "length",
                prompt=self.request(subject, kind).messages[-1].text,
                language=self.language,
                earlier=earlier,
            )
            found, reason = await self._check_draft(subject, draft)
            written = WrittenQuestion(text, reply.call, reason, found, attempt + 1)
            if written.fault is None:
                break
        return written

    async def check(self, image: ImageData, category: Category, text: str) -> tuple[QuestionCheck | None, str | None]:
        """The checker's answer on a text, and the reject reason `unchecked` if it gave none."""
        if self.checker is None:
            return None, None
        found = await check(self.checker.model, self.checker.prompts, image, category, text)
        return found, "unchecked" if found is None else None

    async def _check_draft(
        self, subject: QuestionSubject, draft: QuestionDraft
    ) -> tuple[QuestionCheck | None, str | None]:
        """The checker's answer and the reject reason. The quality checks run first, because they cost nothing."""
        if reason := first_fault(draft):
            return None, reason
        found, reason = await self.check(subject.image, subject.category, draft.text)
        return found, reason if found is None else _fault_found(draft.kind, found)


def _fault_found(kind: str, found: QuestionCheck) -> str | None:
    if kind == NEIGHBOUR:
        return None if found.modality == "none" else "neighbour_harmful"
    return None if found.about_leaf else "off_leaf"
