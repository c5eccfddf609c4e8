"""What a model is sent and what it returns."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from spavl.records import canonical_json
from spavl.text.http_headers import RateLimitHeaders

Finish = Literal["stop", "length", "refused"]


@dataclass(frozen=True, slots=True)
class ImageData:
    """An image by the hash of its bytes; requests are equal when their images' hashes are."""

    digest: str
    data: bytes = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: bytes) -> "ImageData":
        return cls(hashlib.sha256(data).hexdigest(), data)


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[ImageData, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model. `sample` tells apart several answers to the same question."""

    messages: tuple[Message, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    sample: int = 0
    # What its model is sent beside these, as canonical JSON of an object: reasoning_effort, chat_template_kwargs, ...
    more: str = ""

    def canonical(self) -> dict[str, Any]:
        """The request as it is hashed and kept: with hashes in the place of images."""
        messages = [[m.role, m.text, [image.digest for image in m.images]] for m in self.messages]
        # A temperature of 0 and one of 0.0 are the same question, so they are spelled alike.
        return {
            "messages": messages,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "sample": self.sample,
            "temperature": float(self.temperature),
            "top_p": float(self.top_p),
            # Requests without it keep the keys that they had before it was there.
            **({"more": json.loads(self.more)} if self.more else {}),
        }

    def spelled(self) -> str:
        return canonical_json(self.canonical())

    def key(self, model: str) -> str:
        """The name of this call in the ledger, the same in every run."""
        return key_of(model, self.spelled())


def key_of(model: str, spelled: str) -> str:
    """The key of a request that is spelled already. It is the content hash of model and request."""
    return hashlib.sha256(f"[{canonical_json(model)},{spelled}]".encode()).hexdigest()


def ask_about(image: ImageData | None, text: str, **settings: Any) -> Request:
    """The usual request: one text, and its image where there is one."""
    return Request((Message("user", text, (image,) if image else ()),), **settings)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `call` is its key in the ledger, `usd` its price; both are filled in by wrappers.

    `text` is what was answered, and what was thought before it is `reasoning`, never a part of it.
    """

    text: str
    finish: Finish
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    call: str = ""
    # Parameters that its server does not take, so that it was asked without them.
    without: tuple[str, ...] = ()
    # What was drawn, where a server was asked for it and tells.
    tokens: tuple[int, ...] = ()
    # What its server says is left of its limits.
    allowance: RateLimitHeaders | None = None
    reasoning: str = ""
    # Of `tokens_out`, those of thoughts; 0 where the server does not tell.
    reasoning_tokens: int = 0
    # Whether its thoughts had an end and no beginning, which its chat template then writes.
    is_begun: bool = False

    @property
    def thought(self) -> bool:
        """Whether anything was thought, so far as can be seen."""
        return bool(self.reasoning or self.reasoning_tokens)


class ChatModel(Protocol):
    """A model that answers. `name` says which one, down to its weights where that can be known."""

    @property
    def name(self) -> str: ...

    async def ask(self, request: Request) -> Reply: ...


class Transient(Exception):
    """The call failed in a way that may pass: too many requests, a server fault, a time-out.

    `may_cost`: an answer may have been made and billed all the same, and been lost on its way.
    """

    def __init__(
        self,
        reason: str,
        retry_after: float | None = None,
        throttled: bool = False,
        may_cost: bool = False,
        allowance: RateLimitHeaders | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.throttled, self.may_cost = reason, retry_after, throttled, may_cost
        self.allowance = allowance


class Outage(Transient):
    """The server that would answer is away. It is asked again once it is back, unless it was waited for too long."""

    def __init__(self, reason: str, may_cost: bool = False, given_up: bool = False) -> None:
        super().__init__(reason, may_cost=may_cost)
        self.given_up = given_up


class Deferred(Exception):
    """The answer comes later, in a batch: whoever asked is to ask again when the batches have come back."""


class Rejected(Exception):
    """The server will never take this request (a permanent 4xx). The run goes on without it."""
