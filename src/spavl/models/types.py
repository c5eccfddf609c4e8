"""Requests to models, replies, and errors."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from spavl.records import canonical_json
from spavl.text.http_headers import RateLimitHeaders

Finish = Literal["stop", "length", "refused"]


@dataclass(frozen=True, slots=True)
class ImageData:
    """An image and the hash of its bytes. Images are compared by their hashes."""

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
    """A request to a model. `sample` distinguishes several answers to the same question."""

    messages: tuple[Message, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    sample: int = 0
    # Additional fields, as canonical JSON of an object: reasoning_effort, chat_template_kwargs, ...
    more: str = ""

    def canonical(self) -> dict[str, Any]:
        """The request as it is hashed and stored: with hashes in place of images."""
        messages = [[m.role, m.text, [image.digest for image in m.images]] for m in self.messages]
        # Temperatures of 0 and 0.0 are the same, so they are converted to the same text.
        return {
            "messages": messages,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "sample": self.sample,
            "temperature": float(self.temperature),
            "top_p": float(self.top_p),
            # Left out if empty, so that requests keep the keys that they had before this field existed.
            **({"more": json.loads(self.more)} if self.more else {}),
        }

    def canonical_text(self) -> str:
        return canonical_json(self.canonical())

    def key(self, model: str) -> str:
        """The key of this call in the ledger, the same in every run."""
        return key_of(model, self.canonical_text())


def key_of(model: str, spelled: str) -> str:
    """The key of a request whose canonical JSON is given: the content hash of model and request."""
    return hashlib.sha256(f"[{canonical_json(model)},{spelled}]".encode()).hexdigest()


def ask_about(image: ImageData | None, text: str, **settings: Any) -> Request:
    """A request with one user message: a text, and an image if there is one."""
    return Request((Message("user", text, (image,) if image else ()),), **settings)


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's reply. `call` is its key in the ledger, `usd` its price; both are set by wrappers.

    `text` is the answer. Thoughts before it are in `reasoning` and never in `text`.
    """

    text: str
    finish: Finish
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    call: str = ""
    # Parameters that were left out of the request, because the server does not accept them.
    without: tuple[str, ...] = ()
    # The sampled token ids, if the server was asked for them and returned them.
    tokens: tuple[int, ...] = ()
    # The remaining quota of the rate limits, from the response headers.
    allowance: RateLimitHeaders | None = None
    reasoning: str = ""
    # The tokens of `tokens_out` that are thoughts; 0 if the server does not report them.
    reasoning_tokens: int = 0
    # Whether the thoughts had an end marker and no start marker, because the chat template writes the start.
    is_begun: bool = False

    @property
    def has_thoughts(self) -> bool:
        """Whether the reply has thoughts, as far as is known."""
        return bool(self.reasoning or self.reasoning_tokens)


class ChatModel(Protocol):
    """A model that answers requests. `name` identifies it, including its weights if they are known."""

    @property
    def name(self) -> str: ...

    async def ask(self, request: Request) -> Reply: ...


class Transient(Exception):
    """The call failed, and a retry may succeed: too many requests, a server error, a time-out.

    `may_cost`: an answer may have been generated and billed, although it did not arrive.
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
    """The server is down. The request is retried when it is back, unless the longest wait has passed (`given_up`)."""

    def __init__(self, reason: str, may_cost: bool = False, given_up: bool = False) -> None:
        super().__init__(reason, may_cost=may_cost)
        self.given_up = given_up


class CallDeferred(Exception):
    """The answer will come in a batch, or needs money that batches hold: the caller asks again after the batches."""


class RequestRejected(Exception):
    """The server refuses this request for good (a permanent 4xx). The run continues without it."""
