"""Extra token room for models that reason, detected from their replies.

Every limit in this package is meant for an answer: 64 tokens for a guard's three lines. A model that thinks first
spends them on its thoughts. Whether one does is seen in its first replies, and it alone is then given more.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from spavl.models.model_settings import ModelSettings
from spavl.models.types import ChatModel, Message, Rejected, Reply, Request

# The most tokens of thoughts that a model is given beside its answer; and the fewest that are worth asking for.
ROOM, _LEAST_ROOM = 4096, 256
# Names of models that think unless they are told not to. Others are found out.
_THINK = re.compile(
    r"thinking|think\b|reason(?:er|ing)|\b(?:o[134]|r1|qwq|gpt-5|gpt-oss|gemini-(?:2\.5|[3-9])|magistral|grok-[4-9])(?![a-z0-9])|"
    r"glm-4\.[1-9]v",
    re.IGNORECASE,
)
# How servers say that so many tokens do not go into a context.
_TOO_LONG = re.compile(
    r"max_tokens|max_completion_tokens|context (?:length|window)|tokens per minute|^(?!HTTP 413).*too (?:large|long)",
    re.IGNORECASE | re.DOTALL,
)
# So many requests in a row that had less room than was tried show that their model has less, and not they alone.
_AGREED = 3
# What a model is asked to see whether it thinks: the end of its thoughts is not far. And how often, at each start.
_SHORT, _SHORT_TOKENS, _TRIALS = "Answer with one word: yes.", 64, 3


def is_known_to_think(model: str, settings: ModelSettings, has_thought: bool) -> bool:
    """Whether a model's name, its settings or calls before say that it thinks, before it has said anything."""
    if settings.thinks_not:
        return False
    return has_thought or bool(settings.reasoning_effort) or _THINK.search(model.partition("@")[0]) is not None


def is_too_long(reason: str) -> bool:
    """Whether a request was refused for its tokens. HTTP 413 alone is about the bytes of its body."""
    return _TOO_LONG.search(reason) is not None


@dataclass
class ThinkingHabits:
    """What is known of a model: whether it thinks (None: not yet), where its thoughts begin, and how much it may."""

    thinks: bool | None = None
    # Its chat template begins its thoughts, so that without an end nothing tells them from an answer.
    is_begun: bool = False
    room: int = ROOM
    finding_out: asyncio.Lock = field(default_factory=asyncio.Lock)
    # How often it may still be asked for a short answer that shows whether it thinks.
    trials: int = _TRIALS
    # The rooms of the last requests in a row that had less than was tried.
    _lesser: list[int] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return self.room >= _LEAST_ROOM

    def note(self, reply: Reply) -> None:
        self.is_begun |= reply.is_begun
        if reply.thought:
            self.thinks = True
        elif self.thinks is None and reply.finish == "stop" and reply.text.strip():
            # One that thinks shows it in every reply that comes to its end.
            self.thinks = False

    def note_room(self, room: int) -> None:
        """So much a request had that went through. A long one has less than the others."""
        if room >= self.room:
            self._lesser.clear()
            return
        self._lesser.append(room)
        if len(self._lesser) == _AGREED:
            self.room = max(self._lesser)
            self._lesser.clear()


class WithThinkingRoom:
    """Asks again with room for thoughts where a reply was cut off in them, and from then on at once.

    What comes back has both replies' tokens and price. A reply that was cut off in its thoughts even so has no text.
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
        if reply.thought or not reply.text.strip():
            habits.thinks = True
        if habits.thinks is None and habits.trials:
            # Nothing tells an answer from thoughts that the chat template has begun, but a reply that comes to its end.
            async with habits.finding_out:
                if habits.thinks is None and habits.trials:
                    return await self._find_out(request, reply)
        return await self._ask_with_room(request, reply) if habits.thinks else reply

    async def _find_out(self, request: Request, reply: Reply) -> Reply:
        """Asked for one word. What was cut off may be too long to come to its end with any room."""
        habits = self._habits
        try:
            word = await self._ask_with_room(
                replace(request, messages=(Message("user", _SHORT),), max_tokens=_SHORT_TOKENS)
            )
            reply = _with_use_of(reply, reply, word)
        except Rejected:
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
        """`cut_off` is what came without room, which is all there is where the model's context has none."""
        habits, room = self._habits, self._habits.room
        while room >= _LEAST_ROOM:
            try:
                reply = await self._inner.ask(replace(request, max_tokens=request.max_tokens + room))
            except Rejected as error:
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
        """A cut-off reply without a mark is all thought where the chat template begins thoughts."""
        if self._habits.is_begun and reply.finish == "length" and not reply.reasoning:
            return replace(reply, text="", reasoning=reply.text)
        return reply


def habits_of(is_known: bool, settings: ModelSettings) -> ThinkingHabits:
    """Those of a model that was not heard yet. With a limit of its own it has that and no more."""
    return ThinkingHabits(thinks=is_known or None, room=ROOM if settings.max_tokens is None else 0)


def _with_use_of(said: Reply, *replies: Reply) -> Reply:
    """What was said, with what all of these replies have used."""
    return replace(
        said,
        tokens_in=sum(reply.tokens_in for reply in replies),
        tokens_out=sum(reply.tokens_out for reply in replies),
        reasoning_tokens=sum(reply.reasoning_tokens for reply in replies),
        usd=sum(reply.usd for reply in replies),
    )
