"""Removes the keys of this process from texts: a server may return the key that it was sent.

A key is known by its value, as it stands and as it is spelled in URLs, JSON, HTML, base64 and hexadecimal digits.
A server that spells it in a way of its own cannot be kept from it.
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
# A shorter one, such as EMPTY, is no secret, and would be taken out of words that only look like it.
_SHORTEST = 8
# What spavl and the libraries beneath it send to servers.
_SENT = ("OPENAI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN")
_SENT_PREFIX = "SPAVL_API_KEY_"
_SECRET_NAME = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:$|_)")
# What stands before the @ of an address.
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]{0,1000}@")


def sent_keys(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The values that servers of models and hubs are sent."""
    found = (value for name, value in environment.items() if name in _SENT or name.startswith(_SENT_PREFIX))
    return tuple(sorted({value.strip() for value in found if len(value.strip()) >= _SHORTEST}))


def known_keys(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The values of all variables that are named as secrets are."""
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
    """What a server sent, without the keys that servers are sent, also where JSON spells their letters by number."""
    pattern = pattern_of(sent_keys())
    if pattern is None:
        return body
    clean = pattern.sub(WITHHELD.encode(), body)
    if b"\\" not in clean:
        return clean
    try:
        read = json.loads(clean)
        cleaned = _cleaned(read, pattern)
    except (ValueError, RecursionError):
        # Nothing here reads it as JSON either.
        return clean
    return clean if cleaned == read else json.dumps(cleaned).encode()


def has_userinfo(text: str) -> bool:
    """Whether an address in a text holds a user's name or password."""
    return _USERINFO.search(text) is not None


def without_userinfo(text: str) -> str:
    return _USERINFO.sub("", text)


@functools.lru_cache(maxsize=8)
def pattern_of(keys: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """Finds any of these values in any of their spellings."""
    spelled = {each for key in keys for each in _spellings(key)}
    # The longer ones first, which may hold a shorter one.
    longest_first = sorted(spelled, key=lambda each: (-len(each), each))
    return re.compile(b"|".join(map(re.escape, longest_first))) if spelled else None


def _spellings(key: str) -> Iterator[bytes]:
    data, in_json = key.encode(), json.dumps(key)[1:-1]
    texts = (key, urllib.parse.quote(key, safe=""), urllib.parse.quote_plus(key), html.escape(key), in_json)
    yield from (text.encode() for text in (*texts, in_json.replace("/", "\\/")))
    yield from (data.hex().encode(), data.hex().upper().encode())
    for before in range(3):
        # Where other bytes stand before and behind, the digits at both ends depend on them too.
        encoded = base64.b64encode(bytes(before) + data)
        whole = encoded[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        yield from (whole, whole.translate(bytes.maketrans(b"+/", b"-_")))


def _cleaned(value: Any, pattern: re.Pattern[bytes]) -> Any:
    if isinstance(value, str):
        data = value.encode(errors="surrogatepass")
        clean = pattern.sub(WITHHELD.encode(), data)
        return value if clean == data else clean.decode(errors="surrogatepass")
    if isinstance(value, list):
        return [_cleaned(each, pattern) for each in value]
    if isinstance(value, dict):
        return {_cleaned(name, pattern): _cleaned(each, pattern) for name, each in value.items()}
    return value
