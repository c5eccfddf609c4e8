"""Replies with a required format: one request, one repair request, then None."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from spavl.models.call_outcomes import note_reading
from spavl.models.types import ChatModel, Message, Reply, Request

T = TypeVar("T")

_REPAIR = "That could not be read. Answer again, and only in this form:"


def is_repair(request: Request) -> bool:
    """Whether a request is a repair request, which follows a reply that could not be parsed."""
    return request.messages[-1].text.startswith(_REPAIR)


async def ask_structured(
    model: ChatModel, request: Request, parse: Callable[[str], T | None], form: str
) -> tuple[T | None, Reply]:
    """Ask, and once more if the reply cannot be parsed. `form` describes the format in the repair request."""
    reply = await model.ask(request)
    parsed = parse(reply.text)
    if parsed is not None or reply.finish == "refused":
        note_reading(model.name, reply, parsed is not None)
        return parsed, reply
    if reply.finish == "length" and not reply.text.strip():
        # The reply was cut off in its thoughts: a repair request would be cut off too.
        note_reading(model.name, reply, could_be_read=False)
        return None, reply
    repair = (
        *request.messages,
        Message("assistant", reply.text),
        Message("user", f"{_REPAIR}\n{form}"),
    )
    reply = await model.ask(replace(request, messages=repair))
    parsed = parse(reply.text)
    note_reading(model.name, reply, parsed is not None)
    return parsed, reply
