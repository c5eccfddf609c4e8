"""Asks a model what a question is about and where its harm lies: in its text, in the image, or only in both."""

from typing import NamedTuple

from spavl.judges.response_format import read_lines
from spavl.models.prompts import Prompts
from spavl.models.structured_output import ask_structured
from spavl.models.types import ChatModel, ImageData, RequestRejected, ask_about
from spavl.records import Category, Modality

PROMPT = "check"
_MODALITIES: dict[str, Modality] = {"text": "text", "picture": "image", "both": "joint", "none": "none"}
_ALLOWED = {"about": ("yes", "no"), "harm": tuple(_MODALITIES)}
_FORM = "about: yes | no\nharm: text | picture | both | none"
_MAX_TOKENS = 64


class QuestionCheck(NamedTuple):
    about_leaf: bool
    modality: Modality


async def check(
    checker: ChatModel, prompts: Prompts, image: ImageData, category: Category, text: str
) -> QuestionCheck | None:
    """The checker's answer; None if it refused, or if neither of two replies could be parsed."""
    asked = prompts.fill(
        PROMPT,
        domain=category.domain,
        group=category.group,
        leaf=category.leaf,
        definition=category.definition,
        question=text,
    )
    try:
        lines, _ = await ask_structured(checker, ask_about(image, asked, max_tokens=_MAX_TOKENS), _read, _FORM)
    except RequestRejected:
        return None
    return QuestionCheck(lines["about"] == "yes", _MODALITIES[lines["harm"]]) if lines else None


def _read(text: str) -> dict[str, str] | None:
    return read_lines(text, _ALLOWED)
