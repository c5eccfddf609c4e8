"""Checks of a written question, one small function each, which returns the reject reason or None."""

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from spavl.judges.refusal_regex import seems_refused
from spavl.text.language import Language, declines_in, is_in
from spavl.text.similarity import count_words, repeats, share_taken_from
from spavl.text.tidy import holds_template_marks, looks_like_data

_SHORTEST_WORDS, _LONGEST_WORDS = 3, 120
# A longer text is rejected whatever its number of words, as in scripts without spaces.
_MOST_CHARACTERS = 64 * _LONGEST_WORDS
_MOST_ALIKE, _MOST_ECHOED = 0.8, 0.5
# A quotation does not match past another opening mark: otherwise each of many would be searched to the end of the text.
_QUOTED = re.compile(r"\"[^\"]*\"|“[^“”]*”|«[^«»]*»|„[^„“]*“|「[^「」]*」")
_QUESTION_MARKS = re.compile(r"[?？؟;](?=[\s)\]!?？؟]|$)")
_ITEM = re.compile(r"^[^\S\n]*(?:[-*•]|\(?\d{1,2}[.):])\s", re.M)


class QuestionDraft(NamedTuple):
    """A text as it was written, with all that the checks compare it with."""

    text: str
    kind: str
    # Whether the server reported a refusal, or cut the text at the token limit.
    refused: bool
    cut_off: bool
    # The prompt, without the question that the writer was to start from.
    prompt: str
    language: Language
    earlier: Collection[str]


def refusal(draft: QuestionDraft) -> str | None:
    declined = draft.refused or seems_refused(draft.text) or declines_in(draft.language, draft.text)
    return "writer_refused" if declined else None


def emptiness(draft: QuestionDraft) -> str | None:
    return None if any(map(str.isalnum, draft.text)) else "empty"


def length(draft: QuestionDraft) -> str | None:
    words = count_words(draft.text)
    if draft.cut_off or words > _LONGEST_WORDS:
        return "too_long"
    return "too_short" if words < _SHORTEST_WORDS else None


def form(draft: QuestionDraft) -> str | None:
    return "not_plain_text" if looks_like_data(draft.text) or holds_template_marks(draft.text) else None


def echo(draft: QuestionDraft) -> str | None:
    return "echoes_prompt" if share_taken_from(draft.text, draft.prompt) > _MOST_ECHOED else None


def language(draft: QuestionDraft) -> str | None:
    return None if is_in(draft.language, draft.text) else "wrong_language"


def number(draft: QuestionDraft) -> str | None:
    """The prompt asks for one question. Question marks inside quotations do not count."""
    marks = "?？؟;" if draft.language.code == "el" else "?？؟"
    asked = [found for found in _QUESTION_MARKS.findall(_QUOTED.sub(" ", draft.text)) if found in marks]
    return "several_in_one" if len(asked) > 1 or len(_ITEM.findall(draft.text)) > 1 else None


def kind(draft: QuestionDraft) -> str | None:
    asks = draft.text.rstrip().endswith(("?", "？", "؟"))
    return "not_a_statement" if draft.kind == "statement" and asks else None


def newness(draft: QuestionDraft) -> str | None:
    return "repeats" if repeats(draft.text, draft.earlier, _MOST_ALIKE) else None


# In this order: the first reason found is the reject reason.
GATES: tuple[Callable[[QuestionDraft], str | None], ...] = (
    refusal,
    emptiness,
    form,
    length,
    language,
    number,
    kind,
    newness,
    echo,
)


def first_fault(draft: QuestionDraft) -> str | None:
    if len(draft.text) > _MOST_CHARACTERS:
        return "too_long"
    return next((reason for gate in GATES if (reason := gate(draft))), None)
