"""Records which models answered and which refused during a piece of work, and in which calls.

So is the last reply in which nothing could be read: whoever asked has it no more.

Rooms make something of a refusal: a guard an invalid verdict, a judge a blocked vote, a describer a
fallback. Whoever does the work for them still has to know when a server takes nothing at all.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

from spavl.models.types import Reply

# Said of a reply that has thoughts and no answer, before the end of its thoughts.
_CUT_OFF, _SHOWN = "thoughts that were cut off", 200


@dataclass(slots=True)
class CallOutcomes:
    """The models that answered, and those that refused with the last reason of each. One may do both.

    `calls` are the ledger's keys of all that was asked, `unread` is the last reply without the form that was asked for.
    """

    answered: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    unread: str | None = None
    # The models whose replies had the form that was asked for, and those whose had not, with the last of each.
    read_of: set[str] = field(default_factory=set)
    unread_of: dict[str, str] = field(default_factory=dict)


_heard: ContextVar[CallOutcomes | None] = ContextVar("heard", default=None)


def listen() -> CallOutcomes:
    """Whatever the current task, and tasks that it starts, ask of models from now on is noted here."""
    heard = CallOutcomes()
    _heard.set(heard)
    return heard


def note_answer(model: str, *calls: str) -> None:
    if heard := _heard.get():
        heard.answered.add(model)
        heard.calls.update(calls)


def note_refusal(model: str, reason: str, *calls: str) -> None:
    if heard := _heard.get():
        heard.refused[model] = reason
        heard.calls.update(calls)


def note_reading(model: str, reply: Reply, could_be_read: bool) -> None:
    """Whether a reply has the form that was asked for. One that a content filter keeps back says nothing of that."""
    heard = _heard.get()
    if heard is None or (reply.finish == "refused" and not could_be_read):
        return
    if could_be_read:
        heard.read_of.add(model)
        return
    cut_off = reply.finish == "length" and not reply.text.strip()
    heard.unread = f"{_CUT_OFF}: {reply.reasoning[-_SHOWN:]}" if cut_off else reply.text
    heard.unread_of[model] = heard.unread
