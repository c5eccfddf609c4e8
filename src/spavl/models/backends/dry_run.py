"""Models that send no requests: they count what each call would cost, and answer from the ledger."""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, Self

from spavl.models.factory import Backend, ModelFactory, OpenedBackend
from spavl.models.image_tokens import tokens_of
from spavl.models.model_settings import NONE, ModelSettings
from spavl.models.names import hf_name, openai_name
from spavl.models.prices import Price
from spavl.models.structured_output import is_repair
from spavl.models.types import ChatModel, Reply, Request, key_of
from spavl.models.wrappers.rate_limit import PaceConfig
from spavl.models.wrappers.stack import call_of, reply_of
from spavl.models.wrappers.thinking import ROOM
from spavl.store import Ledger

# The likely cost, or the most: every answer has the maximal length, and every request is followed by a repair request.
Case = Literal["likely", "most"]

_BYTES_PER_TOKEN: dict[Case, float] = {"likely": 4.0, "most": 2.0}
# Tokens that a chat template adds to a message.
_FRAME = 8
_TOKENS_PER_WORD = 4 / 3
# The assumed number of tokens that a thinking model spends on thoughts before an answer.
_THOUGHTS = 1000
# With at least this many finished calls, the tokens they used replace the assumptions.
_EVIDENCE = 5


@dataclass
class CallTally:
    """The calls of one stage to one model. A row may stand for several, so that counts are not whole numbers."""

    price: Price | None
    # The model's bare name, and the assumed number of words of an answer.
    model: str
    words: float
    # Whether the token counts are estimated from finished calls.
    measured: bool = False
    # Whether the model is known to think, and how many tokens its thoughts may add to an answer's limit.
    thinks: bool = False
    room: int = 0
    shown: float = 0.0
    calls: float = 0.0
    kept: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    # The number of calls found in the ledger, the tokens they used, and the input tokens estimated for them.
    seen: int = 0
    used_in: int = 0
    used_out: int = 0
    estimated_in: float = 0.0

    @property
    def usd(self) -> float | None:
        return None if self.price is None else self.price.of(self.tokens_in, self.tokens_out)


@dataclass
class LengthEvidence:
    """Measured on finished calls, by stage and model: used over estimated input tokens, and the mean output tokens."""

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
    """Opens any model without contacting a server or loading weights."""

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
        # How many calls each call stands for, and the assumed number of words of an answer.
        self.times, self.words = 1.0, 1.0
        # The keys of requests already counted: equal requests are sent once, as in a run.
        self.asked: set[str] = set()
        self._known = self._names_before()
        # The models by name, stage, settings and weight; each with its settings, so that no others take their place.
        self._opened: dict[tuple[object, ...], tuple[ModelSettings, ChatModel]] = {}

    def with_weight(self, times: float, words: float) -> Self:
        """A copy whose models count each call `times` times and assume answers of `words` words. Tallies are shared."""
        made = copy.copy(self)
        made.times, made.words = times, words
        return made

    def open(self, uri: str, stage: str, own: ModelSettings = NONE) -> ChatModel:
        """As in a run. A model is opened once for all rows with one weight, for there are tens of thousands."""
        key = uri, stage, id(own), self.times, self.words, *self._batched
        if key not in self._opened:
            self._opened[key] = own, super().open(uri, stage, own)
        return self._opened[key][1]

    def _load_openai(self, name: str, url: str | None) -> Backend:
        return UnloadedBackend(openai_name(name))

    def _load_hf(self, path: str, dtype: str) -> Backend:
        return UnloadedBackend(hf_name(path, self._known) or f"hf/{path}")

    def _wrap_backend(self, opened: OpenedBackend, stage: str) -> ChatModel:
        place = (stage, opened.uri)
        measured = place in self.evidence.tokens_out
        made = CallTally(opened.price, opened.model, self.words, measured, self._thinks(opened))
        tally = self.tallies.setdefault(place, made)
        tally.room = ROOM if opened.settings.max_tokens is None else 0
        return CountingModel(opened.backend.name, self, place, tally, opened.former)


class ValidatingFactory(ModelFactory):
    """Opens models as a run does, to check that they can be opened. No weights are read."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Mapping[str, ModelSettings] = MappingProxyType({}),
        pace: PaceConfig | None = None,
    ) -> None:
        super().__init__(ledger, settings=settings, pace=pace)
        # The first stage that asks each backend.
        self.first_asked: dict[Backend, str] = {}

    def _load_hf(self, path: str, dtype: str) -> Backend:
        super()._load_hf(path, dtype)
        from spavl.models.backends.hf import check_there  # imports torch; the line above raises if it is missing

        check_there(path, self.trusted)
        return UnloadedBackend(f"hf/{path}")

    def _wrap_backend(self, opened: OpenedBackend, stage: str) -> ChatModel:
        for backend, _ in opened.places:
            self.first_asked.setdefault(backend, stage)
        return super()._wrap_backend(opened, stage)


class CountingModel:
    """Counts the calls to a model. Returns the reply in the ledger, or a text of the expected length."""

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
        spelled, tokens_out = request.canonical_text(), self._tokens_out(request)
        key = key_of(self.name, spelled)
        # The text starts with a part of the call's key, so that questions about two answers differ. It has no thoughts.
        said = min(tokens_out, self._most_said(request)) if self._tally.thinks else tokens_out
        text = f"{key[:12]} {'word ' * int(said)}"
        stand_in = Reply(text[: int(said * _BYTES_PER_TOKEN["likely"])], "stop")
        if key in self._factory.asked or (is_repair(request) and self._factory.case == "likely"):
            return stand_in
        self._factory.asked.add(key)
        tokens_in, tally, times = self._tokens_in(request), self._tally, self._factory.times
        if call := call_of(self._factory.ledger, (self.name, *self._former), spelled):
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
    """A backend that has a name and cannot be called."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def ask(self, request: Request) -> Reply:
        raise AssertionError(f"{self.name} is not there to be asked {request}")

    async def rest(self) -> None:
        pass

    async def close(self) -> None:
        pass
