"""Request settings of one model, wherever it is named, besides those of each stage:

    [model_settings."openai/NAME@http://HOST:PORT/v1"]
    max_tokens = 8192
    reasoning_effort = "low"
    chat_template_kwargs = { enable_thinking = false }
    extra_body = { thinking_token_budget = 2048 }
    longest_side = 2048

They apply to the model as tested model, responder, writer, checker, guard and judge. `openai/NAME` without an address
or a revision means that model on every server. The settings are part of a request, and so of its key in the ledger.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, Field, field_validator

from spavl.config import Settings, texts_in
from spavl.errors import ConfigError
from spavl.models.types import ChatModel, Reply, Request
from spavl.records import canonical_json

# Fields that are set from the request itself, or that change the format of the response.
_OURS = ("messages", "model", "stream", "n", "max_tokens", "max_completion_tokens")
_HERE = ("hf/", "miniature/")


class ModelSettings(Settings):
    """Settings of one model. A setting that is not given has the stage's value, or is not sent."""

    max_tokens: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="longest reply in tokens, reasoning included; replaces the limits of the stage and the judges",
    )
    reasoning_effort: str = Field("", description="reasoning effort: none, minimal, low, medium, high, ...")
    chat_template_kwargs: dict[str, Any] = Field(
        {}, description="variables of its chat template, such as enable_thinking = false"
    )
    extra_body: dict[str, Any] = Field({}, description="further request fields; overrides what is sent by default")
    longest_side: int | None = Field(
        None, ge=64, description="longer side in pixels of the images it is sent, at most; replaces pace.longest_side"
    )

    @field_validator("extra_body")
    @classmethod
    def _is_not_ours(cls, given: dict[str, Any]) -> dict[str, Any]:
        if ours := [name for name in _OURS if name in given]:
            raise ValueError(f"{ours[0]} cannot be given in extra_body")
        return given

    @property
    def more(self) -> dict[str, Any]:
        """The additional fields of a request."""
        named = {"reasoning_effort": self.reasoning_effort, "chat_template_kwargs": self.chat_template_kwargs}
        return {name: value for name, value in named.items() if value} | self.extra_body

    @property
    def thinks_not(self) -> bool:
        """Whether thoughts are turned off by one of the usual switches."""
        switches = [self.chat_template_kwargs.get(name) for name in ("enable_thinking", "thinking")]
        return False in switches or self.reasoning_effort == "none"


NONE = ModelSettings()


def settings_of(uri: str, table: Mapping[str, ModelSettings], own: ModelSettings = NONE) -> ModelSettings:
    """A model's settings: by its full name, else without address, else without revision. `own` overrides them."""
    named = {name.rstrip("/"): settings for name, settings in table.items()}
    identity = uri.partition("@")[0]
    names = uri.rstrip("/"), identity, identity.partition("#")[0]
    usual = next((named[name] for name in names if name in named), NONE)
    # Both were checked when they were read, and each call of a run asks for them.
    found = ModelSettings.model_construct(
        max_tokens=own.max_tokens or usual.max_tokens,
        reasoning_effort=own.reasoning_effort or usual.reasoning_effort,
        chat_template_kwargs={**usual.chat_template_kwargs, **own.chat_template_kwargs},
        extra_body={**usual.extra_body, **own.extra_body},
        longest_side=own.longest_side or usual.longest_side,
    )
    if found.extra_body and uri.startswith(_HERE):
        then = "give what its chat template knows as chat_template_kwargs"
        raise ConfigError("a model in this process has no server that takes extra_body", where=uri, then=then)
    return found


def apply_settings(request: Request, settings: ModelSettings) -> Request:
    """The request with the settings of its model."""
    more = canonical_json(settings.more) if settings.more else ""
    return replace(request, max_tokens=settings.max_tokens or request.max_tokens, more=more)


class WithModelSettings:
    """Applies a model's settings to each request."""

    def __init__(self, inner: ChatModel, settings: ModelSettings) -> None:
        self.name, self._inner, self._settings = inner.name, inner, settings

    async def ask(self, request: Request) -> Reply:
        return await self._inner.ask(apply_settings(request, self._settings))


def named_in(table: Mapping[str, ModelSettings], settings: Any) -> dict[str, ModelSettings]:
    """The entries of the table whose models occur in `settings`, alone or after the format of a guard."""
    texts = list(texts_in(settings))

    def is_named(name: str) -> bool:
        ends = re.compile(re.escape(name.rstrip("/")) + "/?(?:[@#]|$)")
        return any(ends.search(text) for text in texts)

    return {name: own for name, own in table.items() if is_named(name)}


def settings_within(table: Mapping[str, ModelSettings], stage: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of the table that the rows of a stage depend on; all of them if it has a pool file."""
    named = table if stage.get("pool") else named_in(table, stage)
    return [{name: own.model_dump(mode="json") for name, own in sorted(named.items())}] if named else []


def check_named_somewhere(table: Mapping[str, ModelSettings], config: BaseModel, *more: str) -> None:
    """Refuse an entry for a model that is not used, since it may be a typo. `more` are used names not in `config`."""
    settings = config.model_copy(update={"model_settings": {}}).model_dump(mode="json")
    if unknown := sorted(table.keys() - named_in(table, [settings, *more]).keys()):
        then = "name the model as the other settings name it, openai/NAME@URL, or without its address: openai/NAME"
        raise ConfigError(f"no stage asks a model {unknown[0]!r}", where="model_settings", then=then)
