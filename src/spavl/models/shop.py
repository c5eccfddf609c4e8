"""Opens models by their names, and gives each its wrappers.

openai/gpt-4o                          OpenAI
openai/NAME@http://127.0.0.1:8000/v1   any server of the same kind, vLLM and SGLang among them
hf/PATH-or-hub-id                      transformers, in this process
miniature/base, miniature/careful      the model that ships with spavl, and its personas
fixed/refuse, fixed/comply             the same answer to everything: the ends of any scale
"""

import asyncio
import copy
import time
from collections.abc import Callable, Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, Protocol

from spavl.errors import ConfigError, MissingExtra
from spavl.miniature.personas import PERSONAS
from spavl.models.batches import HALF, BatchDesk, Tell
from spavl.models.fixed import SAID, FixedModel
from spavl.models.limits import Pace, PaceConfig
from spavl.models.openai import OPENAI, OpenAIModel, check_address, is_loopback
from spavl.models.prices import FREE, Price, price_of
from spavl.models.sides import SidesLimited
from spavl.models.types import ChatModel
from spavl.models.wrappers import Budget, Budgeted, Flights, Limited, Persona, Recorded, Retrying
from spavl.store import Ledger, Loss

# Seconds that a run which stops early waits for answers under way.
_LAST_ANSWERS = 10.0
# Double precision: its rounding is too fine for an answer to hang on which rows shared a batch.
_MINIATURE_DTYPE = "float64"


class Backend(ChatModel, Protocol):
    async def rest(self) -> None:
        """Hold no memory until the next question."""
        ...

    async def close(self) -> None: ...


class Opened(NamedTuple):
    """A model that is open, before it has its wrappers. `model` is its bare name, by which it is priced."""

    backend: Backend
    uri: str
    model: str
    price: Price | None
    pace: Pace


class ModelShop:
    """The models of one run. They share its ledger and its budget; those of one server and one name share a pace."""

    def __init__(
        self,
        ledger: Ledger,
        budget: Budget | None = None,
        pace: PaceConfig | None = None,
        prices: Mapping[str, tuple[float, float]] | None = None,
        say: Callable[[str], None] = lambda _: None,
        batches: BatchDesk | None = None,
        batched: Collection[str] = (),
    ) -> None:
        self._batches, self._batched = batches, batched
        self._ledger, self._budget = ledger, budget or Budget(None)
        self._pace, self._prices = pace or PaceConfig(), prices or {}
        self._say = say
        self._backends: dict[str, Backend] = {}
        self._paces: dict[str, Pace] = {}
        self._flights: Flights = {}

    def open(self, uri: str, stage: str) -> ChatModel:
        """The model of this name, its calls booked under `stage`."""
        kind, _, rest = uri.partition("/")
        makers: dict[str, Callable[[str, str], ChatModel]] = {
            "openai": self._openai,
            "hf": self._hf,
            "miniature": self._miniature,
            "fixed": self._fixed,
        }
        if kind == "vllm":
            then = f"run `vllm serve {rest}` and name it openai/{rest}@http://127.0.0.1:8000/v1"
            raise ConfigError("vLLM models are reached through their server", where=uri, then=then)
        if kind not in makers or not rest:
            then = "use openai/NAME, openai/NAME@URL, hf/PATH, miniature/PERSONA, fixed/refuse or fixed/comply"
            raise ConfigError(f"no such kind of model: {uri!r}", then=then)
        return makers[kind](rest, stage)

    @property
    def asks(self) -> bool:
        """Whether a model can be asked anything that the ledger does not know."""
        return True

    def at_once(self) -> "ModelShop":
        """The same models, none of which is asked through batches: for the few calls that all else waits for."""
        prompt = copy.copy(self)
        prompt._batched = ()
        return prompt

    def paces(self) -> Mapping[str, Pace]:
        """How fast each model is asked, by its name and server."""
        return self._paces

    async def landed(self) -> None:
        """Wait until the calls that are on their way now have come back."""
        await asyncio.sleep(0)
        if self._flights:
            await asyncio.wait(list(self._flights.values()))

    async def collect(self, tell: Tell) -> None:
        """Send the batches, and wait until all have come back."""
        if self._batches is not None:
            await self._batches.collect(tell)

    async def rest(self) -> None:
        """Let go of the weights that are held in this process; a model that is asked again loads them again."""
        await asyncio.gather(*(backend.rest() for backend in self._backends.values()))

    async def close(self) -> None:
        """Send nothing more, let the answers that are on their way still come in, for they are paid; then hang up."""
        for pace in self._paces.values():
            pace.close()
        if self._flights:
            _, late = await asyncio.wait(list(self._flights.values()), timeout=_LAST_ANSWERS)
            for flight in late:
                flight.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._batches is not None:
            await self._batches.close()
        await asyncio.gather(*(backend.close() for backend in self._backends.values()))

    def _openai(self, rest: str, stage: str) -> ChatModel:
        name, _, url = rest.partition("@")
        check_address(url or OPENAI)
        backend = self._backend(f"openai/{rest}", lambda: self._load_openai(name, url or None))
        # By name too: providers limit each model alone, and behind a gateway a slow one must not hold up the rest.
        pace = self._paces.setdefault(rest, Pace(self._pace))
        price = price_of(rest, self._prices) or (FREE if url and is_loopback(url) else None)
        if f"openai/{rest}" in self._batched and price is not None:
            price = Price(HALF * price.tokens_in, HALF * price.tokens_out)
        opened = self._wrapped(Opened(backend, f"openai/{rest}", name, price, pace), stage)
        return SidesLimited(opened, self._pace.side_of(rest))

    def _hf(self, path: str, stage: str, dtype: str = "auto") -> ChatModel:
        backend = self._backend(f"hf/{path} as {dtype}", lambda: self._load_hf(path, dtype))
        return self._wrapped(Opened(backend, f"hf/{path}", path, FREE, self._own_pace(path)), stage)

    def _miniature(self, persona: str, stage: str) -> ChatModel:
        backend = self._backend("miniature", lambda: self._load_hf(miniature_checkpoint(), _MINIATURE_DTYPE))
        opened = Opened(backend, f"miniature/{persona}", "miniature", FREE, self._own_pace("the miniature"))
        return _as_persona(self._wrapped(opened, stage), persona)

    def _fixed(self, name: str, stage: str) -> ChatModel:
        return _always(name)

    def _own_pace(self, name: str) -> Pace:
        """Of a model in this process, which batches what it is asked."""
        return self._paces.setdefault(name, Pace(PaceConfig(at_once=4096)))

    def _backend(self, key: str, make: Callable[[], Backend]) -> Backend:
        if key not in self._backends:
            self._backends[key] = make()
        return self._backends[key]

    def _load_openai(self, name: str, url: str | None) -> Backend:
        return OpenAIModel(name, url, say=self._say)

    def _load_hf(self, path: str, dtype: str) -> Backend:
        return _load_here(path, dtype)

    def _wrapped(self, opened: Opened, stage: str) -> ChatModel:
        backend = opened.backend
        if self._batches is not None and opened.uri in self._batched and isinstance(backend, OpenAIModel):
            door = self._batches.open(backend, opened.price, opened.model, stage)
            return Recorded(door, self._ledger, stage, self._flights)

        async def write_off(usd: float) -> None:
            await self._ledger.put(Loss(model=backend.name, stage=stage, usd=usd, at=time.time()))

        limited = Limited(backend, opened.pace)
        budgeted = Budgeted(limited, self._budget, opened.price, opened.model, write_off)
        return Recorded(Retrying(budgeted, self._say), self._ledger, stage, self._flights)


def open_here(uri: str) -> ChatModel:
    """A model of this process with nothing round it, for whoever keeps a ledger of their own."""
    kind, _, rest = uri.partition("/")
    if kind == "fixed":
        return _always(rest)
    if kind == "miniature":
        return _as_persona(_load_here(miniature_checkpoint(), _MINIATURE_DTYPE), rest)
    return _load_here(checkpoint_path(uri), "auto")


def _load_here(path: str, dtype: str) -> Backend:
    try:
        from spavl.models.hf import HFModel
    except ModuleNotFoundError as error:
        then = 'pip install "spavl[hf]"'
        raise MissingExtra(f"models in this process need {error.name}", where=f"hf/{path}", then=then) from None
    return HFModel(path, dtype)


def _always(name: str) -> ChatModel:
    if name not in SAID:
        raise ConfigError(f"no model says {name!r} to everything", then=f"use fixed/{' or fixed/'.join(SAID)}")
    return FixedModel(name)


def _as_persona(base: ChatModel, persona: str) -> ChatModel:
    if persona == "base":
        return base
    if persona not in PERSONAS:
        then = f"use base, or one of: {', '.join(PERSONAS)}"
        raise ConfigError(f"the miniature has no persona {persona!r}", then=then)
    return Persona(base, persona, PERSONAS[persona].system_prompt)


def miniature_checkpoint() -> str:
    """The folder of the checkpoint that ships in the package."""
    return str(files("spavl.miniature").joinpath("checkpoint"))


def checkpoint_path(uri: str) -> str:
    """The folder or hub id of a model that can be trained in this process."""
    kind, _, rest = uri.partition("/")
    if uri == "miniature/base":
        return miniature_checkpoint()
    if kind != "hf" or not rest:
        then = "use hf/PATH or miniature/base"
        raise ConfigError(f"only models in this process can be trained, not {uri!r}", then=then)
    if Path(rest, "adapter_config.json").is_file():
        # Its base would be trained from, and what it has learnt be lost in the adapter that is saved then.
        then = f"spavl train merge {rest} --out FOLDER, and give that folder"
        raise ConfigError("this is an adapter and no whole model", where=uri, then=then)
    return rest
