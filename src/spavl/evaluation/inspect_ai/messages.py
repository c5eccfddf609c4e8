"""Converts between Inspect's messages and ours."""

import base64
import re
from collections.abc import Callable, Sequence

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentReasoning,
    ContentText,
)

from spavl.errors import ConfigError
from spavl.models.backends.openai import data_url
from spavl.models.types import ImageData, Message

_DATA = re.compile(r"data:[\w/+.-]+;base64,(.*)", re.DOTALL)
_SPOKEN: dict[str, Callable[..., ChatMessage]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


def theirs(message: Message) -> ChatMessage:
    """One of our messages as Inspect's, with the images first, as in all our requests."""
    shown: list[Content] = [ContentImage(image=data_url(image)) for image in message.images]
    return _SPOKEN[message.role](content=[*shown, ContentText(text=message.text)] if shown else message.text)


def ours(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    return tuple(map(_read, messages))


def _read(message: ChatMessage) -> Message:
    if message.role == "tool":
        raise ConfigError("models in this process use no tools", then="evaluate a task without tools")
    parts = [ContentText(text=message.content)] if isinstance(message.content, str) else message.content
    images, texts = [], []
    for part in parts:
        if isinstance(part, ContentImage):
            images.append(_image(part.image))
        elif isinstance(part, ContentText):
            texts.append(part.text)
        elif not isinstance(part, ContentReasoning):  # earlier reasoning is no part of a turn
            raise ConfigError(f"models in this process read text and images, and no {part.type}")
    return Message(message.role, "\n".join(texts), tuple(images))


def _image(spelled: str) -> ImageData:
    """Decodes a data URI. Inspect reads files and fetches URLs before it calls a model."""
    found = _DATA.fullmatch(spelled)
    if found is None:
        raise ConfigError("an image came by its address", where=spelled[:80], then="give it as a file or a data URI")
    return ImageData.of(base64.b64decode(found[1]))
