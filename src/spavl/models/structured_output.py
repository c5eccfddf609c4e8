"""Replies with a required format: one request, one repair request, then None."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from spavl.models.call_outcomes import note_reading
from spavl.models.types import ChatModel, Message, Reply, Request

T = TypeVar("T")

_REPAIR = "That could not be read. Answer again, and only in this form:"


def is_repair(request: Request) -> bool:
    """Whether this asks again for an answer that could not be read."""
    return request.messages[-1].text.startswith(_REPAIR)


async def ask_structured(
    model: ChatModel, request: Request, parse: Callable[[str], T | None], form: str
) -> tuple[T | None, Reply]:
    """Ask until the parser can read the answer, twice at most. `form` says what was wanted."""
    reply = await model.ask(request)
    parsed = parse(reply.text)
    if parsed is not None or reply.finish == "refused":
        note_reading(model.name, reply, parsed is not None)
        return parsed, reply
    if reply.finish == "length" and not reply.text.strip():
        # Cut off in its thoughts: what it would have said is not known, and a plea would be cut off like that.
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
