"""Opens models by their names and adds the wrappers.

openai/gpt-4o                          OpenAI
openai/NAME@http://127.0.0.1:8000/v1   any server with OpenAI's API, such as vLLM and SGLang
openai/NAME@URL,URL2                   the same model at several addresses
openai/NAME#REVISION@URL               one of several models that are served under one name
hf/PATH-or-hub-id                      transformers, in this process
hf/OWNER/NAME@REVISION                 the same, at a commit, a tag or a branch of the hub
miniature/base, miniature/careful      the model that ships with spavl, and its personas
miniature/qwen                         a second model that ships with spavl, of Qwen2-VL's architecture
fixed/refuse, fixed/comply             the same answer to everything: baselines

Names without a kind, such as a run folder, become one of these in `models/uri.py`.
"""

import asyncio
import copy
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, Self

from spavl.errors import ConfigError, MissingExtra, how_to_install
from spavl.miniature.checkpoints import CHECKPOINTS
from spavl.miniature.personas import PERSONAS
from spavl.models.backends.fixed import FixedModel
from spavl.models.backends.openai import OPENAI, OpenAIModel, check_address, is_loopback
from spavl.models.batch_api.queue import HALF, BatchQueue, Tell
from spavl.models.model_settings import (
    NONE,
    ModelSettings,
    WithModelSettings,
    apply_settings,
    settings_of,
    settings_within,
)
from spavl.models.names import former_names, lacks_address, openai_name, parse_served_name
from spavl.models.prices import FREE, Price, price_of
from spavl.models.types import ChatModel, Request
from spavl.models.uri import KINDS, model_uri
from spavl.models.wrappers.image_size import ImageSizeLimited, ResizedImages
from spavl.models.wrappers.rate_limit import PaceConfig, RateLimiter
from spavl.models.wrappers.stack import (
    Budget,
    Flights,
    LedgerCached,
    LoadBalanced,
    RateLimited,
    Retrying,
    WithBudget,
    WithSystemPrompt,
)
from spavl.models.wrappers.thinking import ThinkingHabits, WithThinkingRoom, habits_of, is_known_to_think
from spavl.records import canonical_json
from spavl.store import Ledger, LostCall

# Seconds that a run waits for requests in flight when it stops early.
_LAST_ANSWERS = 10.0
# In double precision, rounding does not make an answer depend on the other rows of its batch.
_MINIATURE_DTYPE = "float64"


class Backend(ChatModel, Protocol):
    async def rest(self) -> None:
        """Release the memory of the weights until the next request."""
        ...

    async def close(self) -> None: ...


class OpenedBackend(NamedTuple):
    """An opened model, before wrappers are added. `model` is its bare name, by which its price is found."""

    uri: str
    model: str
    price: Price | None
    # A backend for each address, each with its own rate limiter.
    places: tuple[tuple[Backend, RateLimiter], ...]
    # Names of the model in ledgers of earlier versions.
    former: tuple[str, ...] = ()
    settings: ModelSettings = NONE

    @property
    def backend(self) -> Backend:
        return self.places[0][0]


class ModelFactory:
    """The models of one run. They share its ledger and budget; models with one server and name share a rate limiter."""

    trusted: Collection[str] = ()
    # Whether a model without an address is an error, since requests are sent.
    needs_addresses = True

    def __init__(
        self,
        ledger: Ledger,
        budget: Budget | None = None,
        pace: PaceConfig | None = None,
        prices: Mapping[str, tuple[float, float]] | None = None,
        say: Callable[[str], None] = lambda _: None,
        batches: BatchQueue | None = None,
        batched: Collection[str] = (),
        settings: Mapping[str, ModelSettings] = MappingProxyType({}),
    ) -> None:
        self._settings = settings
        self._habits: dict[tuple[str, str], ThinkingHabits] = {}
        self._batches, self._batched = batches, batched
        self._ledger, self._budget = ledger, budget or Budget(None)
        self._pace, self._prices = pace or PaceConfig(), prices or {}
        self._say, self._smaller = say, ResizedImages()
        self._backends: dict[str, Backend] = {}
        self._paces: dict[str, RateLimiter] = {}
        self._flights: Flights = {}
        # The served models by identity, each with the name that was used first.
        self._named: dict[str, str] = {}
        # The names of models in the ledger; None until they are needed.
        self._past: list[str] | None = None
        # Those of them whose replies had thoughts; None until they are needed.
        self._have_thought: frozenset[str] | None = None

    def trusting(self, names: Collection[str]) -> Self:
        """Allow these models to run their own Python code. Returns the factory itself."""
        self.trusted = names
        return self

    def open(self, uri: str, stage: str, own: ModelSettings = NONE) -> ChatModel:
        """The model of this name. Its calls are recorded under `stage`; `own` settings override those of the run."""
        uri = model_uri(uri)
        kind, _, rest = uri.partition("/")
        makers: dict[str, Callable[[str, str, ModelSettings], ChatModel]] = {
            "openai": self._openai,
            "hf": self._hf,
            "miniature": self._miniature,
            "fixed": self._fixed_model,
        }
        if kind == "vllm":
            then = f"run `vllm serve {rest}` and name it openai/{rest}@http://127.0.0.1:8000/v1"
            raise ConfigError("vLLM models are reached through their server", where=uri, then=then)
        if not rest:
            raise ConfigError(f"no model is called {uri!r}", where=stage, then=f"use {', '.join(KINDS.values())}")
        settings = settings_of(uri, self._settings, own)
        model = makers[kind](rest, stage, settings)
        if side := settings.longest_side or (self._pace.longest_side if kind == "openai" else None):
            model = ImageSizeLimited(model, side, self._smaller)
        return model if settings == NONE else WithModelSettings(model, settings)

    def request_as_sent(self, uri: str, request: Request, own: ModelSettings = NONE) -> Request:
        """The request as a model opened by `open` with these settings sends it."""
        return apply_settings(request, settings_of(uri, self._settings, own))

    def settings_within(self, stage: Mapping[str, Any]) -> list[object]:
        """The request settings that the rows of a stage with these settings depend on."""
        side = self._pace.longest_side
        asks_a_server = "openai/" in canonical_json(stage) or stage.get("pool")
        sides = [side] if asks_a_server and side != PaceConfig().longest_side else []
        return [*settings_within(self._settings, stage), *sides]

    @property
    def asks(self) -> bool:
        """Whether calls that are not in the ledger can be made."""
        return True

    def at_once(self) -> "ModelFactory":
        """The same models without the batch API, for the few calls that everything else waits for."""
        prompt = copy.copy(self)
        prompt._batched = ()
        return prompt

    def paces(self) -> Mapping[str, RateLimiter]:
        """The rate limiters by the name and server of the model."""
        return self._paces

    async def wait_for_calls_in_flight(self) -> None:
        """Wait until the calls that are now in flight have finished."""
        await asyncio.sleep(0)
        if self._flights:
            await asyncio.wait(list(self._flights.values()))

    async def collect(self, tell: Tell) -> None:
        """Send the batches, and wait until all have finished."""
        if self._batches is not None:
            await self._batches.collect(tell)

    async def rest(self) -> None:
        """Release the weights in this process. A model loads them again at its next request."""
        await asyncio.gather(*(backend.rest() for backend in self._backends.values()))

    async def close(self) -> None:
        """Send no more requests, wait a while for those in flight, since they are paid, then close all connections."""
        for pace in self._paces.values():
            pace.close()
        self._budget.close()
        if self._flights:
            late = list(self._flights.values())
            try:
                await asyncio.wait(late, timeout=_LAST_ANSWERS)
            finally:
                # Also after an interrupt: what cancelled calls may cost is recorded before the ledger is closed.
                for flight in late:
                    flight.cancel()
                await asyncio.gather(*late, return_exceptions=True)
        if self._batches is not None:
            await self._batches.close()
        await asyncio.gather(*(backend.close() for backend in self._backends.values()))

    def _openai(self, rest: str, stage: str, settings: ModelSettings) -> ChatModel:
        identity, name, urls = parse_served_name(rest)
        if self.needs_addresses and lacks_address(rest):
            # Without an address, requests would go to OpenAI, but be counted as free like those to the user's server.
            then = f"write openai/{identity}@http://HOST:PORT/v1, or openai/{identity} for the one at {OPENAI}"
            raise ConfigError("this model has no address behind the @", where=f"openai/{rest}", then=then)
        for url in urls or (OPENAI,):
            check_address(url)
        self._check_told_apart(identity, rest)
        places = tuple(self._place(identity, url) for url in urls or (None,))
        for _, pace in places:
            pace.others = [other for _, other in places if other is not pace]
        price = price_of(rest, self._prices) or (FREE if _is_own(urls, rest) else None)
        if f"openai/{rest}" in self._batched and price is not None:
            price = Price(HALF * price.tokens_in, HALF * price.tokens_out)
        former = former_names(rest, self._names_before()) if urls else ()
        return self._wrap_backend(OpenedBackend(f"openai/{rest}", name, price, places, former, settings), stage)

    def _place(self, identity: str, url: str | None) -> tuple[Backend, RateLimiter]:
        full = f"{identity}@{url}" if url else identity
        backend = self._backend(f"openai/{full}", lambda: self._load_openai(identity, url))
        # One limiter per model: providers limit each model separately, and a slow model must not delay the others.
        return backend, self._paces.setdefault(full, RateLimiter(self._pace, f"openai/{full}", self._say))

    def _names_before(self) -> list[str]:
        if self._past is None:
            self._past = self._ledger.models()
        return self._past

    def _thinks(self, opened: OpenedBackend) -> bool:
        if self._have_thought is None:
            self._have_thought = self._ledger.models_that_think()
        return is_known_to_think(opened.model, opened.settings, opened.backend.name in self._have_thought)

    def _check_told_apart(self, identity: str, rest: str) -> None:
        """Refuse one name with two lists of addresses: only the user knows whether it is one model or two."""
        before = self._named.setdefault(identity, rest)
        if parse_served_name(before).urls != parse_served_name(rest).urls:
            both = ",".join(dict.fromkeys([*parse_served_name(before).urls, *parse_served_name(rest).urls]))
            then = f"if both serve the same weights, write openai/{identity}@{both} at each place; "
            then += f"if not, give one a revision: openai/{identity}#B@URL"
            raise ConfigError(f"{identity} is named with two addresses", where=f"openai/{rest}", then=then)

    def _hf(self, path: str, stage: str, settings: ModelSettings, dtype: str = "auto") -> ChatModel:
        backend = self._backend(f"hf/{path} as {dtype}", lambda: self._load_hf(path, dtype))
        return self._wrap_backend(
            OpenedBackend(f"hf/{path}", path, FREE, ((backend, self._own_pace(path)),), (), settings), stage
        )

    def _miniature(self, persona: str, stage: str, settings: ModelSettings) -> ChatModel:
        name = _checkpoint_of_persona(persona)
        path = miniature_checkpoint(name)
        backend = self._backend(f"miniature/{name}", lambda: self._load_hf(path, _MINIATURE_DTYPE))
        places = ((backend, self._own_pace(f"miniature/{name}")),)
        opened = OpenedBackend(f"miniature/{persona}", "miniature", FREE, places, (), settings)
        return _as_persona(self._wrap_backend(opened, stage), persona)

    def _fixed_model(self, name: str, stage: str, settings: ModelSettings) -> ChatModel:
        return FixedModel(name)

    def _own_pace(self, name: str) -> RateLimiter:
        """The rate limiter of a model in this process. It hardly limits, since the model batches its requests."""
        return self._paces.setdefault(name, RateLimiter(PaceConfig(at_once=4096)))

    def _backend(self, key: str, make: Callable[[], Backend]) -> Backend:
        if key not in self._backends:
            self._backends[key] = make()
        return self._backends[key]

    def _load_openai(self, name: str, url: str | None) -> Backend:
        def was_answered() -> bool:
            return self._ledger.has_answers_of(openai_name(name))

        return OpenAIModel(name, url, say=self._say, seconds=self._pace.timeout, was_answered=was_answered)

    def _load_hf(self, path: str, dtype: str) -> Backend:
        return _load_here(path, dtype, self._pace.batch_here, self._say, self.trusted)

    def _wrap_backend(self, opened: OpenedBackend, stage: str) -> ChatModel:
        backend = opened.backend
        # With other settings, such as thinking turned off, the same model has other habits.
        which = backend.name, opened.settings.model_dump_json()
        habits = self._habits.setdefault(which, habits_of(self._thinks(opened), opened.settings))
        if self._batches is not None and opened.uri in self._batched and isinstance(backend, OpenAIModel):
            batched = self._batches.open(backend, opened.price, opened.model, stage, habits)
            return LedgerCached(batched, self._ledger, stage, self._flights, opened.former)

        async def write_off(usd: float) -> None:
            await self._ledger.put(LostCall(model=backend.name, stage=stage, usd=usd, at=time.time()))

        def with_rate_limit(place: Backend, pace: RateLimiter) -> RateLimited:
            return RateLimited(WithBudget(place, self._budget, opened.price, opened.model, write_off), pace)

        places = [with_rate_limit(place, pace) for place, pace in opened.places]
        asked = places[0] if len(places) == 1 else LoadBalanced(places, self._say)
        thinking = WithThinkingRoom(Retrying(asked, self._say), habits, self._say)
        return LedgerCached(thinking, self._ledger, stage, self._flights, opened.former)


def _is_own(urls: Sequence[str], rest: str) -> bool:
    """Whether the user serves the model: on this machine, or, for a name with an empty address, on any server."""
    return all(map(is_loopback, urls)) if urls else lacks_address(rest)


def open_here(uri: str) -> ChatModel:
    """A model in this process without wrappers, for callers that keep their own ledger."""
    kind, _, rest = model_uri(uri).partition("/")
    if kind == "fixed":
        return FixedModel(rest)
    if kind == "miniature":
        return _as_persona(_load_here(miniature_checkpoint(_checkpoint_of_persona(rest)), _MINIATURE_DTYPE), rest)
    return _load_here(checkpoint_path(model_uri(uri)), "auto")


def _load_here(path: str, dtype: str, *settings: Any) -> Backend:
    try:
        from spavl.models.backends.hf import HFModel
    except ModuleNotFoundError as error:
        then = how_to_install("hf")
        raise MissingExtra(f"models in this process need {error.name}", where=f"hf/{path}", then=then) from None
    return HFModel(path, dtype, *settings)


def _as_persona(base: ChatModel, persona: str) -> ChatModel:
    if persona in CHECKPOINTS:
        return base
    return WithSystemPrompt(base, persona, PERSONAS[persona].system_prompt)


def _checkpoint_of_persona(name: str) -> str:
    """The checkpoint that answers under this name; the personas are those of the base model."""
    return name if name in CHECKPOINTS else "base"


def miniature_checkpoint(name: str = "base") -> str:
    """The folder of a checkpoint that ships in the package."""
    return str(files("spavl.miniature").joinpath(CHECKPOINTS[name].folder))


def checkpoint_path(uri: str) -> str:
    """The folder or hub id of a model that can be trained in this process."""
    kind, _, rest = uri.partition("/")
    if kind == "miniature" and rest in CHECKPOINTS:
        return miniature_checkpoint(rest)
    if kind != "hf" or not rest:
        then = "use hf/PATH, miniature/base or miniature/qwen"
        raise ConfigError("only models in this process can be trained", where=f"training.model = {uri!r}", then=then)
    if Path(rest, "adapter_config.json").is_file():
        # Training would start from its base, and the adapter that is saved would lose what this one has learned.
        then = f"spavl train merge {shlex.quote(rest)} --out FOLDER, and give that folder"
        raise ConfigError("this is an adapter and no whole model", where=uri, then=then)
    return rest
