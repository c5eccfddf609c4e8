"""Asks a model to describe an image, and records why a text could not be used."""

from typing import NamedTuple

from spavl.judges.refusal_regex import seems_refused
from spavl.models.prompts import Prompts
from spavl.models.types import ChatModel, ImageData, Request, RequestRejected, ask_about
from spavl.text.similarity import count_words, share_taken_from
from spavl.text.tidy import holds_template_marks, looks_like_data, tidy

TEXTS = ("caption", "details")
_LONGEST_WORDS = {"caption": 80, "details": 400}
_MOST_ECHOED = 0.5


class CaptionReply(NamedTuple):
    """A model's text about an image, or the reason why the text cannot be used."""

    text: str
    call: str
    fault: str


def request_for(prompts: Prompts, name: str, image: ImageData, max_tokens: int, seed: int) -> Request:
    return ask_about(image, prompts.fill(name), max_tokens=max_tokens, seed=seed)


async def say(writer: ChatModel, request: Request, name: str) -> CaptionReply:
    try:
        reply = await writer.ask(request)
    except RequestRejected:
        return CaptionReply("", "", "refused_by_server")
    text = tidy(reply.text)
    refused = reply.finish == "refused" or seems_refused(text)
    fault = "refused" if refused else _fault(text, name, request.messages[-1].text)
    if reply.finish == "length":
        fault = fault or "too_long"
    return CaptionReply("" if fault else text, reply.call, fault)


def _fault(text: str, name: str, prompt: str) -> str:
    if not text:
        return "empty"
    if count_words(text) > _LONGEST_WORDS[name]:
        return "too_long"
    if looks_like_data(text) or holds_template_marks(text):
        return "not_plain_text"
    return "echoes_prompt" if share_taken_from(text, prompt) > _MOST_ECHOED else ""
