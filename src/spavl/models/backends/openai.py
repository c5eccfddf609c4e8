"""Calls servers with OpenAI's chat API: `openai/gpt-4o`, `openai/NAME@http://host:8000/v1`."""

import asyncio
import base64
import contextlib
import functools
import ipaddress
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from spavl.config import NO_USERINFO
from spavl.errors import ConfigError, ProviderError
from spavl.models.backends.openai_replies import (
    LIMITS,
    SPARED,
    fault_in,
    listed_in,
    not_taken,
    other_limit,
    read_reply,
    status_within,
)
from spavl.models.names import openai_name, parse_served_name
from spavl.models.types import ImageData, Message, Reply, Request, RequestRejected, Transient
from spavl.text.http_headers import allowance, retry_after
from spavl.text.safe_print import line
from spavl.text.secrets import body_without_keys, has_userinfo, without_userinfo

OPENAI = "https://api.openai.com/v1"
# Set in tests: calls to hosts that could cost money are then refused.
LOOPBACK_ONLY = "SPAVL_LOOPBACK_ONLY"

_SECONDS, _SECONDS_TO_CONNECT = 300.0, 10.0
_JSON = {"Content-Type": "application/json"}
# The largest list of models in bytes: some gateways list thousands.
_MOST_LISTED = 2**24
# Bytes of a response besides the answer: JSON structure, usage, an error.
_REPLY_ROOM = 2**20
# The most bytes per token: JSON needs up to twelve bytes for a character, few tokens have more than eight characters,
# and the token id may be sent too. A longer response is not what was requested.
_REPLY_PER_TOKEN = 128
# All responders are asked about an image at nearly the same time.
_IMAGES_HELD = 64
_MEDIA_TYPES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}
# How gateways report that they did not pass a request on to the model.
_FILTERED = re.compile(r"moderat|flagged|filter|content.{0,10}(?:polic|safety)|safety (?:system|polic)", re.IGNORECASE)


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(url: str) -> None:
    if has_userinfo(url):
        what = "the address of a server holds a user's name or password"
        raise ConfigError(what, where=without_userinfo(url), then=NO_USERINFO)
    with contextlib.suppress(ValueError):
        address = urlsplit(url)
        # A query or a fragment would not be part of the requested URL, and a query often contains a key.
        if address.scheme in ("http", "https") and address.hostname and not address.query and not address.fragment:
            return
    where = url.partition("?")[0]
    raise ConfigError("this is no address of a server", where=where, then="write openai/NAME@http://HOST:PORT/v1")


class OpenAIModel:
    """A model behind an HTTP server. Each request is sent once; wrappers do retries and rate limits.

    If the server rejects a parameter, this and later requests are sent without it; if it rejects the name of the token
    limit, they are sent with the other name. `more` is added to the body of every request. `was_answered` returns
    whether the ledger has an answer of this model, so that its key was accepted before.
    """

    def __init__(
        self,
        model: str,
        url: str | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
        say: Callable[[str], None] = lambda _: None,
        seconds: float = _SECONDS,
        was_answered: Callable[[], bool] = lambda: False,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, _SECONDS_TO_CONNECT))
        self.model, self._more, self._say = parse_served_name(model).model, more, say
        self.url = (url or OPENAI).rstrip("/")
        self.without: frozenset[str] = frozenset()
        self._limit = LIMITS[self.url == OPENAI]
        self.name = openai_name(model)
        check_address(self.url)
        if os.environ.get(LOOPBACK_ONLY) and not is_loopback(self.url):
            then = f"unset {LOOPBACK_ONLY} if you mean to call it"
            raise ProviderError("calls to other machines are switched off", where=self.url, then=then)
        if self.url == OPENAI and not authorization(self.url):
            then = f"put it into the variable {key_variable(self.url)}"
            raise ProviderError("there is no key for this model", where=self.name, then=then)
        self._answered, self._was_answered = False, was_answered
        # The number of requests in flight, and an event that is set when one of them returns.
        self._under_way, self._came_back = 0, asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._checked: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Reply:
        if self._checked is None:
            self._checked = asyncio.create_task(self._check())
        await asyncio.shield(self._checked)
        self._under_way += 1
        try:
            (status, headers, body), without, limit = await self._put(request)
        finally:
            self._under_way -= 1
            self._came_back.set()
            self._came_back = asyncio.Event()
        if status == 200 and (status := status_within(body)) == 200:
            self._answered = True
            # The success shows that these parameters were the cause, and not the content of the request.
            self.leave_out(without)
            self._limit = limit
            reply = read_reply(body, request.max_tokens)
            return replace(reply, without=tuple(sorted(without)), allowance=allowance(headers))
        if not self._answered:
            self._check_more(request, status, body)
        while status == 403 and self._under_way and not self._answered:
            # The cause may be the key or the content: the outcome of the other requests in flight shows which.
            await self._came_back.wait()
        self.raise_for(status, headers, body)
        raise AssertionError

    async def _put(self, request: Request) -> tuple[tuple[int, Any, bytes], frozenset[str], str]:
        """The response, the parameters that were left out, and the name of the token limit that was used."""
        without, limit = self.without, (first := self._limit)
        most = _REPLY_ROOM + _REPLY_PER_TOKEN * request.max_tokens
        status, headers, body = await self._send("POST", "/chat/completions", self.body(request, without, limit), most)
        while name := not_taken(status, body, without, [limit] if limit == first else []):
            if name == limit:
                limit = other_limit(limit)
            else:
                without |= {name}
            asked = self.body(request, without, limit)
            status, headers, body = await self._send("POST", "/chat/completions", asked, most)
        return (status, headers, body), without, limit

    def leave_out(self, names: Collection[str]) -> None:
        if self._limit in names:
            self._limit = other_limit(self._limit)
        for name in sorted({*names} - self.without - {*LIMITS}):
            self._say(f"{self.name} does not take {name}, and is asked without")
        self.without |= {*names} - {*LIMITS}

    def _check_more(self, request: Request, status: int, body: bytes) -> None:
        """Raise if the server rejects a parameter that the user set: leaving it out would change the answers."""
        named = json.loads(request.more or "{}")
        if name := not_taken(status, body, SPARED, named):
            then = f"take it out of the settings of this model, or give it by the name that its server knows: {name}"
            raise ProviderError(f"the server does not take {name}: {fault_in(body)}", where=self.name, then=then)

    async def rest(self) -> None:
        """Nothing to do: the model is not in this process."""

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _check(self) -> None:
        """List the models once, so that a wrong address is reported at once and not after all retries."""
        try:
            await self.list_models()
        except Transient as error:
            raise self.no_answer(error) from None

    async def list_models(self) -> frozenset[str]:
        """The names of the models that the server lists; empty if it has no list."""
        status, headers, body = await self._send("GET", "/models", None)
        if status == 401:  # 403 is accepted: some keys may send requests but not list models
            self.raise_for(status, headers, body)
        if body.lstrip()[:1] == b"<":
            what = "the server answers with a web page, not with JSON"
            raise ProviderError(what, where=f"{self.url}/models", then="check the address: it usually ends in /v1")
        return listed_in(body) if status == 200 else frozenset()

    def no_answer(self, error: Transient) -> ProviderError:
        then = "start the server, or correct the address after the @ in the model's name"
        return ProviderError(f"no server answers: {error.reason}", where=self.url, then=then)

    async def _send(
        self, method: str, path: str, body: bytes | None, most: int = _MOST_LISTED
    ) -> tuple[int, Any, bytes]:
        """Send a request. Returns the status, headers and body of the response, with keys removed from the body."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                headers=authorization(self.url),
                connector=aiohttp.TCPConnector(limit=0),
            )
        try:
            # Redirects are not followed: the request and the key are for this host only.
            sending = self._session.request(method, self.url + path, data=body, headers=_JSON, allow_redirects=False)
            async with sending as answer:
                return answer.status, answer.headers, await read_at_most(answer, most)
        except aiohttp.ClientConnectorError as error:
            raise Transient(told_of(error)) from None
        except TimeoutError:
            raise Transient(f"no answer within {self._timeout.total:g} s", may_cost=True) from None
        except aiohttp.ClientError as error:
            raise Transient(told_of(error), may_cost=True) from None

    def body(self, request: Request, without: Collection[str] = (), limit: str = "") -> bytes:
        spared = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed + request.sample,
        }
        settings = {
            "model": self.model,
            limit or self._limit: request.max_tokens,
            **{name: value for name, value in spared.items() if name not in without},
            **self._more,
            **json.loads(request.more or "{}"),
        }
        try:
            return orjson.dumps({**settings, "messages": [_message(message) for message in request.messages]})
        except orjson.JSONEncodeError as error:
            # A lone surrogate such as "\ud800" cannot be encoded in UTF-8.
            raise RequestRejected(f"the request is no JSON: {error}") from None

    def raise_for(self, status: int, headers: Any, body: bytes, key_is_good: bool = False) -> None:
        reason = f"HTTP {status}: {fault_in(body)}"
        if status == 402 or b"insufficient_quota" in body:
            then = "add credit to the account of this key and type the same command"
            raise ProviderError(reason, where=self.url, then=then)
        if status == 429 or status >= 500 or status in (408, 409, 425):
            raise Transient(reason, retry_after(headers), status == 429, allowance=allowance(headers))
        if status == 403 and (key_is_good or self._answered or _FILTERED.search(reason) or self._was_answered()):
            # The key was accepted before, so the gateway rejects the content of this request.
            raise RequestRejected(reason)
        if status in (401, 403):
            then = f"put a valid key into the variable {key_variable(self.url)}"
            raise ProviderError(reason, where=self.url, then=then)
        if status == 404 and self._answered:
            # A gateway returns this while the server behind it is down.
            raise Transient(reason)
        if status in (404, 405) or 300 <= status < 400:
            then = "check the model's name and the address; list what is served with curl " + self.url + "/models"
            raise ProviderError(reason, where=self.name, then=then)
        raise RequestRejected(reason)


async def read_at_most(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of a response, with keys removed. Raises Transient with `may_cost` if it has more than `most` bytes."""
    parts, size = list[bytes](), 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            raise Transient(f"an answer of more than {most:,} bytes, which is more than was asked for", may_cost=True)
    return body_without_keys(b"".join(parts))


def told_of(error: Exception) -> str:
    """An error in one line, without the server's text: aiohttp may truncate a key in it, which then goes undetected."""
    own = not isinstance(error, aiohttp.ClientError) or isinstance(error, aiohttp.ClientConnectionError)
    said = line(str(error)) if own else "what the server sent is no HTTP"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def key_variable(url: str) -> str:
    """The environment variable of a server's key. It contains the host's name, so that no host gets another's key."""
    if url == OPENAI:
        return "OPENAI_API_KEY"
    host = (urlsplit(url).hostname or "").upper()
    # A dash and a dot are replaced by different strings: a-b.org and a.b.org are two hosts.
    return "SPAVL_API_KEY_" + re.sub(r"[^A-Z0-9]", "_", host.replace("_", "___").replace("-", "__"))


def authorization(url: str) -> dict[str, str]:
    """The authorization header for a server; empty if no key is set for its host."""
    key = os.environ.get(key_variable(url), "").strip()
    return {"Authorization": f"Bearer {key}"} if key else {}


def _message(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    shown = ({"type": "image_url", "image_url": {"url": data_url(image)}} for image in message.images)
    return {"role": message.role, "content": [*shown, {"type": "text", "text": message.text}]}


@functools.lru_cache(maxsize=_IMAGES_HELD)
def data_url(image: ImageData) -> str:
    """Cached, since many requests have the same image."""
    return f"data:{media_type(image)};base64,{base64.b64encode(image.data).decode()}"


def media_type(image: ImageData) -> str:
    for start, kind in _MEDIA_TYPES.items():
        if image.data.startswith(start):
            return kind
    if image.data[:4] == b"RIFF" and image.data[8:12] == b"WEBP":
        return "image/webp"
    return "application/octet-stream"
