"""Extra token room for models that reason, detected from their replies.

Token limits in this package are meant for the answer: 64 tokens for a guard's three lines. A model that thinks first
spends them on its thoughts. Its first replies show whether it thinks; if so, its limits are raised.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from spavl.models.model_settings import ModelSettings
from spavl.models.types import ChatModel, Message, Reply, Request, RequestRejected

# The most tokens that are added to a limit for thoughts; and the fewest that are worth a request.
ROOM, _LEAST_ROOM = 4096, 256
# Names of models that think by default. Other thinking models are detected from their replies.
_THINK = re.compile(
    r"thinking|think\b|reason(?:er|ing)|\b(?:o[134]|r1|qwq|gpt-5|gpt-oss|gemini-(?:2\.5|[3-9])|magistral|grok-[4-9])(?![a-z0-9])|"
    r"glm-4\.[1-9]v",
    re.IGNORECASE,
)
# How servers report that a request has too many tokens.
_TOO_LONG = re.compile(
    r"max_tokens|max_completion_tokens|context (?:length|window)|tokens per minute|^(?!HTTP 413).*too (?:large|long)",
    re.IGNORECASE | re.DOTALL,
)
# After this many requests in a row that needed less room than was tried, the model's room is lowered.
_AGREED = 3
# A short question that shows whether a model thinks, since its thoughts end soon; and how often it is asked per start.
_SHORT, _SHORT_TOKENS, _TRIALS = "Answer with one word: yes.", 64, 3


def is_known_to_think(model: str, settings: ModelSettings, has_thought: bool) -> bool:
    """Whether a model's name, its settings or earlier calls show that it thinks."""
    if settings.thinks_not:
        return False
    return has_thought or bool(settings.reasoning_effort) or _THINK.search(model.partition("@")[0]) is not None


def is_too_long(reason: str) -> bool:
    """Whether a request was refused because of its tokens. HTTP 413 by itself means the bytes of the body."""
    return _TOO_LONG.search(reason) is not None


@dataclass
class ThinkingHabits:
    """What is known of a model's thoughts. `thinks` is None if unknown; `room` is the tokens added for thoughts."""

    thinks: bool | None = None
    # Whether the chat template starts the thoughts, so that thoughts without an end look like an answer.
    is_begun: bool = False
    room: int = ROOM
    finding_out: asyncio.Lock = field(default_factory=asyncio.Lock)
    # How often the short question that shows whether it thinks may still be asked.
    trials: int = _TRIALS
    # The room of each of the last requests in a row that had less than `room`.
    _lesser: list[int] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return self.room >= _LEAST_ROOM

    def note(self, reply: Reply) -> None:
        self.is_begun |= reply.is_begun
        if reply.has_thoughts:
            self.thinks = True
        elif self.thinks is None and reply.finish == "stop" and reply.text.strip():
            # A thinking model has thoughts in every reply that is not cut off.
            self.thinks = False

    def note_room(self, room: int) -> None:
        """Record the room of a request that was accepted. A long request may have less than others."""
        if room >= self.room:
            self._lesser.clear()
            return
        self._lesser.append(room)
        if len(self._lesser) == _AGREED:
            self.room = max(self._lesser)
            self._lesser.clear()


class WithThinkingRoom:
    """Repeats a request with room for thoughts if its reply was cut off in them; later requests get the room at once.

    The reply has the tokens and the price of both. If it is cut off in its thoughts again, its text is empty.
    """

    def __init__(self, inner: ChatModel, habits: ThinkingHabits, say: Callable[[str], None] = lambda _: None) -> None:
        self.name, self._inner, self._habits, self._say = inner.name, inner, habits, say

    async def ask(self, request: Request) -> Reply:
        habits = self._habits
        if habits.thinks and habits.has_room:
            return await self._ask_with_room(request)
        reply = await self._inner.ask(request)
        habits.note(reply)
        if reply.finish != "length" or not habits.has_room:
            return self._without_open_thought(reply)
        if reply.has_thoughts or not reply.text.strip():
            habits.thinks = True
        if habits.thinks is None and habits.trials:
            # If the chat template starts thoughts, only a complete reply shows whether a text is thoughts or an answer.
            async with habits.finding_out:
                if habits.thinks is None and habits.trials:
                    return await self._find_out(request, reply)
        return await self._ask_with_room(request, reply) if habits.thinks else reply

    async def _find_out(self, request: Request, reply: Reply) -> Reply:
        """Ask for one word to find out whether the model thinks: the request itself may be cut off with any room."""
        habits = self._habits
        try:
            word = await self._ask_with_room(
                replace(request, messages=(Message("user", _SHORT),), max_tokens=_SHORT_TOKENS)
            )
            reply = _with_use_of(reply, reply, word)
        except RequestRejected:
            pass
        if habits.thinks:
            return await self._ask_with_room(request, reply)
        if habits.thinks is None:
            habits.trials -= 1
            if habits.trials == _TRIALS - 1:
                self._say(
                    f"{self.name}: all of its replies are cut off, so nothing shows yet whether they are answers or "
                    f"thoughts; they are taken for answers. If it thinks, give it a larger max_tokens in model_settings"
                )
        return reply

    async def _ask_with_room(self, request: Request, cut_off: Reply | None = None) -> Reply:
        """Ask with room. `cut_off` is the reply without room; it is returned if the model's context has none."""
        habits, room = self._habits, self._habits.room
        while room >= _LEAST_ROOM:
            try:
                reply = await self._inner.ask(replace(request, max_tokens=request.max_tokens + room))
            except RequestRejected as error:
                if not is_too_long(str(error)):
                    raise
                room = min(habits.room, room // 2)
                continue
            habits.note_room(room)
            habits.note(reply)
            reply = self._without_open_thought(reply)
            return reply if cut_off is None else _with_use_of(reply, cut_off, reply)
        reply = cut_off or self._without_open_thought(await self._inner.ask(request))
        habits.note_room(0)
        return reply

    def _without_open_thought(self, reply: Reply) -> Reply:
        """If the chat template starts thoughts, a cut-off reply without an end marker consists of thoughts only."""
        if self._habits.is_begun and reply.finish == "length" and not reply.reasoning:
            return replace(reply, text="", reasoning=reply.text)
        return reply


def habits_of(is_known: bool, settings: ModelSettings) -> ThinkingHabits:
    """The initial habits of a model. If the user set its `max_tokens`, no room is added."""
    return ThinkingHabits(thinks=is_known or None, room=ROOM if settings.max_tokens is None else 0)


def _with_use_of(said: Reply, *replies: Reply) -> Reply:
    """The reply `said`, with the tokens and the price of all `replies`."""
    return replace(
        said,
        tokens_in=sum(reply.tokens_in for reply in replies),
        tokens_out=sum(reply.tokens_out for reply in replies),
        reasoning_tokens=sum(reply.reasoning_tokens for reply in replies),
        usd=sum(reply.usd for reply in replies),
    )
