"""Removes the keys of this process from texts: a server may return the key that it was sent.

A key is found by its value, as it is and as it is encoded in URLs, JSON, HTML, base64 and hexadecimal digits.
A key that a server encodes in another way is not found.
"""

import base64
import functools
import html
import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

WITHHELD = "[key withheld]"
# A shorter value, such as EMPTY, is not a secret, and would be removed from ordinary words.
_SHORTEST = 8
# Environment variables that spavl and its libraries send to servers.
_SENT = ("OPENAI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN")
_SENT_PREFIX = "SPAVL_API_KEY_"
_SECRET_NAME = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:$|_)")
# The credentials before the @ of an address.
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]{0,1000}@")


def sent_keys(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The keys that are sent to model servers and hubs."""
    found = (value for name, value in environment.items() if name in _SENT or name.startswith(_SENT_PREFIX))
    return tuple(sorted({value.strip() for value in found if len(value.strip()) >= _SHORTEST}))


def known_keys(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The values of all environment variables whose names look like those of secrets."""
    found = (value for name, value in environment.items() if _SECRET_NAME.search(name.upper()))
    kept = {value.strip() for value in found if len(value.strip()) >= _SHORTEST and not os.path.exists(value)}  # noqa: PTH110
    return tuple(sorted({*kept, *sent_keys(environment)}))


def without_keys(text: str) -> str:
    """A text without the keys that are sent to servers."""
    pattern = pattern_of(sent_keys())
    return (
        text
        if pattern is None
        else pattern.sub(WITHHELD.encode(), text.encode(errors="surrogatepass")).decode(errors="surrogatepass")
    )


def body_without_keys(body: bytes) -> bytes:
    """A response body without the keys that are sent to servers, even if JSON escapes encode their letters."""
    pattern = pattern_of(sent_keys())
    if pattern is None:
        return body
    clean = pattern.sub(WITHHELD.encode(), body)
    if b"\\" not in clean:
        return clean
    try:
        read = json.loads(clean)
        cleaned = _withhold_keys(read, pattern)
    except (ValueError, RecursionError):
        # It is not JSON, so no caller decodes JSON escapes in it.
        return clean
    return clean if cleaned == read else json.dumps(cleaned).encode()


def has_userinfo(text: str) -> bool:
    """Whether an address in a text holds a user's name or password."""
    return _USERINFO.search(text) is not None


def without_userinfo(text: str) -> str:
    return _USERINFO.sub("", text)


@functools.lru_cache(maxsize=8)
def pattern_of(keys: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """A pattern that finds any of these keys in any encoding; None if there are none."""
    spelled = {each for key in keys for each in _spellings(key)}
    # The longer ones first: they may contain a shorter one.
    longest_first = sorted(spelled, key=lambda each: (-len(each), each))
    return re.compile(b"|".join(map(re.escape, longest_first))) if spelled else None


def _spellings(key: str) -> Iterator[bytes]:
    data, in_json = key.encode(), json.dumps(key)[1:-1]
    texts = (key, urllib.parse.quote(key, safe=""), urllib.parse.quote_plus(key), html.escape(key), in_json)
    yield from (text.encode() for text in (*texts, in_json.replace("/", "\\/")))
    yield from (data.hex().encode(), data.hex().upper().encode())
    for before in range(3):
        # In base64 the digits at both ends depend on the neighbouring bytes too, so only the inner ones are matched.
        encoded = base64.b64encode(bytes(before) + data)
        whole = encoded[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        yield from (whole, whole.translate(bytes.maketrans(b"+/", b"-_")))


def _withhold_keys(value: Any, pattern: re.Pattern[bytes]) -> Any:
    if isinstance(value, str):
        data = value.encode(errors="surrogatepass")
        clean = pattern.sub(WITHHELD.encode(), data)
        return value if clean == data else clean.decode(errors="surrogatepass")
    if isinstance(value, list):
        return [_withhold_keys(each, pattern) for each in value]
    if isinstance(value, dict):
        return {_withhold_keys(name, pattern): _withhold_keys(each, pattern) for name, each in value.items()}
    return value
