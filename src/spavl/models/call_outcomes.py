"""Records which models answered and which refused during a piece of work, and in which calls.

The last reply that could not be parsed is recorded too, since the caller does not keep it.

Guards, judges and others turn a refusal into a result: an invalid verdict, a blocked vote, a
fallback. The stage runner still has to know when a server refuses every request.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

from spavl.models.types import Reply

# A label for replies with thoughts and without an answer, and how many characters of the thoughts are shown.
_CUT_OFF, _SHOWN = "thoughts that were cut off", 200


@dataclass(slots=True)
class CallOutcomes:
    """The models that answered, and those that refused, with the last reason. A model may do both.

    `calls` are the ledger keys of all calls. `unread` is the last reply that did not have the required format.
    """

    answered: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    unread: str | None = None
    # The models whose replies had the required format, and those whose replies had not, with the last such reply.
    read_of: set[str] = field(default_factory=set)
    unread_of: dict[str, str] = field(default_factory=dict)


_heard: ContextVar[CallOutcomes | None] = ContextVar("heard", default=None)


def listen() -> CallOutcomes:
    """Record from now on the outcomes of calls that the current task, and tasks that it starts, make."""
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
    """Record whether a reply had the required format. Replies that a content filter blocked are not counted."""
    heard = _heard.get()
    if heard is None or (reply.finish == "refused" and not could_be_read):
        return
    if could_be_read:
        heard.read_of.add(model)
        return
    cut_off = reply.finish == "length" and not reply.text.strip()
    heard.unread = f"{_CUT_OFF}: {reply.reasoning[-_SHOWN:]}" if cut_off else reply.text
    heard.unread_of[model] = heard.unread
