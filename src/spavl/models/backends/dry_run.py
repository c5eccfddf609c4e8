"""Models that are never called: they count what each call would cost, and answer from the ledger."""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, Self

from spavl.models.factory import Backend, ModelFactory, OpenedBackend
from spavl.models.image_tokens import tokens_of
from spavl.models.model_settings import ModelSettings
from spavl.models.names import hf_name, openai_name
from spavl.models.prices import Price
from spavl.models.structured_output import is_repair
from spavl.models.types import ChatModel, Reply, Request
from spavl.models.wrappers.rate_limit import PaceConfig
from spavl.models.wrappers.stack import call_of, reply_of
from spavl.models.wrappers.thinking import ROOM
from spavl.store import Ledger

# What is likely, or the most that can come: every answer as long as it may be, every unreadable one asked again.
Case = Literal["likely", "most"]

_BYTES_PER_TOKEN: dict[Case, float] = {"likely": 4.0, "most": 2.0}
# What a chat template puts round a message.
_FRAME = 8
_TOKENS_PER_WORD = 4 / 3
# What a model that thinks is taken to think before an answer.
_THOUGHTS = 1000
# From so many finished calls on, what they used is believed over what was assumed.
_EVIDENCE = 5


@dataclass
class CallTally:
    """What one model is asked in one stage. Rows stand for many, so that even calls are no whole numbers."""

    price: Price | None
    # Its bare name, and how many words its answers were taken to have.
    model: str
    words: float
    # Whether finished calls told the tokens of those to come.
    measured: bool = False
    # Whether it is known to think, and has room for that beside its answers.
    thinks: bool = False
    room: int = 0
    shown: float = 0.0
    calls: float = 0.0
    kept: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    # What the calls already in the ledger used, beside what would have been estimated for them.
    seen: int = 0
    used_in: int = 0
    used_out: int = 0
    estimated_in: float = 0.0

    @property
    def usd(self) -> float | None:
        return None if self.price is None else self.price.of(self.tokens_in, self.tokens_out)


@dataclass
class LengthEvidence:
    """What finished calls tell of those to come: how far off the tokens of a question are, how long answers are."""

    scale_in: dict[tuple[str, str], float] = field(default_factory=dict)
    tokens_out: dict[tuple[str, str], float] = field(default_factory=dict)

    @classmethod
    def of(cls, tallies: dict[tuple[str, str], CallTally]) -> "LengthEvidence":
        believed = {place: tally for place, tally in tallies.items() if tally.seen >= _EVIDENCE and tally.used_in}
        return cls(
            {place: tally.used_in / tally.estimated_in for place, tally in believed.items()},
            {place: tally.used_out / tally.seen for place, tally in believed.items()},
        )


class CostCountingFactory(ModelFactory):
    """Opens any model without reaching it."""

    needs_addresses = False

    def __init__(
        self,
        ledger: Ledger,
        prices: Mapping[str, tuple[float, float]],
        case: Case,
        evidence: LengthEvidence | None = None,
        batched: Collection[str] = (),
        settings: Mapping[str, ModelSettings] = MappingProxyType({}),
        pace: PaceConfig | None = None,
    ) -> None:
        super().__init__(ledger, pace=pace, prices=prices, batched=batched, settings=settings)
        self.ledger, self.case, self.evidence = ledger, case, evidence or LengthEvidence()
        self.tallies: dict[tuple[str, str], CallTally] = {}
        # A call stands for so many calls, and is answered in so many words.
        self.times, self.words = 1.0, 1.0
        # Equal questions are asked once, here as in a run.
        self.asked: set[str] = set()
        self._known = self._names_before()

    def weighted(self, times: float, words: float) -> Self:
        """One whose models count each call as so many, of answers of so many words. All counts are shared."""
        made = copy.copy(self)
        made.times, made.words = times, words
        return made

    def _load_openai(self, name: str, url: str | None) -> Backend:
        return UnloadedBackend(openai_name(name))

    def _load_hf(self, path: str, dtype: str) -> Backend:
        return UnloadedBackend(hf_name(path, self._known) or f"hf/{path}")

    def _wrapped(self, opened: OpenedBackend, stage: str) -> ChatModel:
        place = (stage, opened.uri)
        measured = place in self.evidence.tokens_out
        made = CallTally(opened.price, opened.model, self.words, measured, self._thinks(opened))
        tally = self.tallies.setdefault(place, made)
        tally.room = ROOM if opened.settings.max_tokens is None else 0
        return CountingModel(opened.backend.name, self, place, tally, opened.former)


class ValidatingFactory(ModelFactory):
    """Opens whatever a run could open, for whoever wants to know that. Not even the weights' files are read."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Mapping[str, ModelSettings] = MappingProxyType({}),
        pace: PaceConfig | None = None,
    ) -> None:
        super().__init__(ledger, settings=settings, pace=pace)
        # The first stage that asks each.
        self.first_asked: dict[Backend, str] = {}

    def _load_hf(self, path: str, dtype: str) -> Backend:
        super()._load_hf(path, dtype)
        from spavl.models.backends.hf import check_there  # loads torch, which the line above has told the lack of

        check_there(path, self.trusted)
        return UnloadedBackend(f"hf/{path}")

    def _wrapped(self, opened: OpenedBackend, stage: str) -> ChatModel:
        for backend, _ in opened.places:
            self.first_asked.setdefault(backend, stage)
        return super()._wrapped(opened, stage)


class CountingModel:
    """A model that counts what it is asked. It gives what the ledger holds, or a text of the length to expect."""

    def __init__(
        self,
        name: str,
        factory: CostCountingFactory,
        place: tuple[str, str],
        tally: CallTally,
        former: Sequence[str] = (),
    ) -> None:
        self.name, self._factory, self._place, self._tally, self._former = name, factory, place, tally, former

    async def ask(self, request: Request) -> Reply:
        key, tokens_out = request.key(self.name), self._tokens_out(request)
        # Each begins with something of its own, so that what is asked about it is another question. Thoughts are none.
        said = min(tokens_out, self._most_said(request)) if self._tally.thinks else tokens_out
        text = f"{key[:12]} {'word ' * int(said)}"
        stand_in = Reply(text[: int(said * _BYTES_PER_TOKEN["likely"])], "stop")
        if key in self._factory.asked or (is_repair(request) and self._factory.case == "likely"):
            return stand_in
        self._factory.asked.add(key)
        tokens_in, tally, times = self._tokens_in(request), self._tally, self._factory.times
        if call := call_of(self._factory.ledger, (self.name, *self._former), request.spelled()):
            tally.kept += times
            tally.seen += 1
            tally.used_in += call.tokens_in
            tally.used_out += call.tokens_out
            tally.estimated_in += tokens_in
            return replace(reply_of(call), finish="refused" if call.status in ("refused", "rejected") else "stop")
        scale = self._factory.evidence.scale_in.get(self._place, 1.0)
        tally.calls += times
        tally.shown += times * sum(len(message.images) for message in request.messages)
        tally.tokens_in += times * tokens_in * scale
        tally.tokens_out += times * tokens_out
        return stand_in

    def _tokens_out(self, request: Request) -> float:
        thinks = self._tally.thinks
        limit = request.max_tokens + (self._tally.room if thinks else 0)
        if self._factory.case == "most":
            return limit
        assumed = self._factory.words * _TOKENS_PER_WORD + (_THOUGHTS if thinks else 0)
        return min(self._factory.evidence.tokens_out.get(self._place, assumed), limit)

    def _most_said(self, request: Request) -> float:
        return request.max_tokens if self._factory.case == "most" else self._factory.words * _TOKENS_PER_WORD

    def _tokens_in(self, request: Request) -> float:
        text = sum(len(message.text.encode()) for message in request.messages) / _BYTES_PER_TOKEN[self._factory.case]
        costs = [tokens_of(image, self._tally.model) for message in request.messages for image in message.images]
        shown = sum(cost.likely if self._factory.case == "likely" else cost.most for cost in costs)
        return text + shown + _FRAME * len(request.messages)


class UnloadedBackend:
    """A backend in name alone."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def ask(self, request: Request) -> Reply:
        raise AssertionError(f"{self.name} is not there to be asked {request}")

    async def rest(self) -> None:
        pass

    async def close(self) -> None:
        pass
