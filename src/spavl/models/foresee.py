"""Models that are never asked: they note what each call would cost, and answer with what the ledger already holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from spavl.models.names import hf_name, openai_name
from spavl.models.pictures import tokens_of
from spavl.models.prices import Price
from spavl.models.shop import Backend, ModelShop, Opened
from spavl.models.structured import is_repair
from spavl.models.types import ChatModel, Reply, Request
from spavl.store import Ledger

# What is likely, or the most that can come: every answer as long as it may be, every unreadable one asked again.
Case = Literal["likely", "most"]

_BYTES_PER_TOKEN: dict[Case, float] = {"likely": 4.0, "most": 2.0}
# What a chat template puts round a message.
_FRAME = 8
_TOKENS_PER_WORD = 4 / 3
# From so many finished calls on, what they used is believed over what was assumed.
_EVIDENCE = 5


@dataclass
class Tally:
    """What one model is asked in one stage. Rows stand for many, so that even calls are no whole numbers."""

    price: Price | None
    # Its bare name, and how many words its answers were taken to have.
    model: str
    words: float
    # Whether finished calls told the tokens of those to come.
    measured: bool = False
    shown: float = 0.0
    calls: float = 0.0
    kept: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    # What the calls already in the ledger used, beside what would have been foretold for them.
    seen: int = 0
    used_in: int = 0
    used_out: int = 0
    foretold_in: float = 0.0

    @property
    def usd(self) -> float | None:
        return None if self.price is None else self.price.of(self.tokens_in, self.tokens_out)


@dataclass
class Evidence:
    """What finished calls tell of those to come: how far off the tokens of a question are, how long answers are."""

    scale_in: dict[tuple[str, str], float] = field(default_factory=dict)
    tokens_out: dict[tuple[str, str], float] = field(default_factory=dict)

    @classmethod
    def of(cls, tallies: dict[tuple[str, str], Tally]) -> "Evidence":
        believed = {place: tally for place, tally in tallies.items() if tally.seen >= _EVIDENCE and tally.used_in}
        return cls(
            {place: tally.used_in / tally.foretold_in for place, tally in believed.items()},
            {place: tally.used_out / tally.seen for place, tally in believed.items()},
        )


class ForeseeingShop(ModelShop):
    """Opens any model without reaching it. An answer is taken to have `words` words, and a call to stand for `times`."""

    def __init__(
        self, ledger: Ledger, prices: Mapping[str, tuple[float, float]], case: Case, evidence: Evidence | None = None
    ) -> None:
        super().__init__(ledger, prices=prices)
        self._known, self._case, self._evidence = ledger.models(), case, evidence or Evidence()
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.words, self.times = 1.0, 1.0

    def _load_openai(self, name: str, url: str | None) -> Backend:
        return Absent(openai_name(name, url))

    def _load_hf(self, path: str, dtype: str) -> Backend:
        return Absent(hf_name(path, self._known) or f"hf/{path}")

    def _wrapped(self, opened: Opened, stage: str) -> ChatModel:
        place = (stage, opened.uri)
        tally = self.tallies.setdefault(place, Tally(opened.price, opened.model, self.words, place in self._evidence.scale_in))
        return _Foreseen(self, opened, tally, self._evidence.scale_in.get(place), self._evidence.tokens_out.get(place))

    def expect(self, tally: Tally, opened: Opened, request: Request, scale: float | None, length: float | None) -> Reply:
        """Note a call, and give what is in the ledger or a text of the length to expect."""
        likely = self._case == "likely"
        tokens_out = min(length or self.words * _TOKENS_PER_WORD, request.max_tokens) if likely else request.max_tokens
        stand_in = Reply(("word " * int(tokens_out))[: int(tokens_out * _BYTES_PER_TOKEN["likely"])], "stop")
        if likely and is_repair(request):
            return stand_in
        tokens_in = self._tokens_in(request, opened.model)
        call = self._ledger.get(request.key(opened.backend.name))
        if call is not None:
            tally.kept += self.times
            tally.seen += 1
            tally.used_in += call.tokens_in
            tally.used_out += call.tokens_out
            tally.foretold_in += tokens_in
            return Reply(call.text, "refused" if call.status in ("refused", "rejected") else "stop", call=call.key)
        tally.calls += self.times
        tally.shown += self.times * sum(len(message.pictures) for message in request.messages)
        tally.tokens_in += self.times * tokens_in * (scale or 1.0 if likely else 1.0)
        tally.tokens_out += self.times * tokens_out
        return stand_in

    def _tokens_in(self, request: Request, model: str) -> float:
        text = sum(len(message.text.encode()) for message in request.messages) / _BYTES_PER_TOKEN[self._case]
        costs = [tokens_of(picture, model) for message in request.messages for picture in message.pictures]
        shown = sum(cost.likely if self._case == "likely" else cost.most for cost in costs)
        return text + shown + _FRAME * len(request.messages)


class _Foreseen:
    def __init__(
        self, shop: ForeseeingShop, opened: Opened, tally: Tally, scale: float | None, length: float | None
    ) -> None:
        self.name = opened.backend.name
        self._shop, self._opened, self._tally, self._scale, self._length = shop, opened, tally, scale, length

    async def ask(self, request: Request) -> Reply:
        return self._shop.expect(self._tally, self._opened, request, self._scale, self._length)


class Absent:
    """A backend in name alone."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def ask(self, request: Request) -> Reply:
        raise AssertionError(f"{self.name} is not there to be asked {request}")

    async def close(self) -> None:
        pass
