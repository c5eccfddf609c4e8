"""Parses what servers with OpenAI's chat API return: answers, lists of models, errors."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from spavl.models.types import Reply, Transient
from spavl.text.final_answer import part_thoughts
from spavl.text.safe_print import line

# Characters of the longest token of any tokenizer. A text longer than `max_tokens` allows is cut off.
_LONGEST_TOKEN = 256
# Parameters that can be left out of a request. If a server rejects two together, the first is left out.
SPARED = ("seed", "top_p", "temperature")
# Two names of one parameter, the most tokens of a reply. Each server accepts at least one.
LIMITS = ("max_tokens", "max_completion_tokens")
# How servers report that they do not accept a parameter; the message also contains its name.
_NOT_TAKEN = re.compile(
    r"unsupported|unknown|unrecognized|not support|not permitted|forbidden|deprecated|cannot both|only \S+ is allowed",
    re.IGNORECASE,
)
# How servers describe an error without a status code, by the status that it means.
_MEANT = {
    429: re.compile(r"rate.?limit|too.?many.?requests|throttl|resource.?exhausted", re.IGNORECASE),
    503: re.compile(
        r"overload|time.?d?.?out|deadline|server.?(?:had.an.)?error|internal|unavailable|capacity|bad.?gateway|"
        r"try again",
        re.IGNORECASE,
    ),
    401: re.compile(r"authentication|unauthorized|invalid.?api.?key|incorrect.?api.?key", re.IGNORECASE),
}
# The finish reasons of vLLM, SGLang and gateways for an answer that was interrupted by an error.
_BROKEN_OFF = ("error", "abort")


def status_within(body: bytes) -> int:
    """The status of the error in a response with HTTP 200, as some gateways send it; 200 if there is no error.

    It is read from the error's code, status or type, else from its message; 400 if none of them says it.
    """
    try:
        answer = json.loads(body)
        fault = None if answer.get("choices") else answer.get("error")
    except (ValueError, AttributeError, RecursionError):
        return 200
    if not fault:
        return 200
    named = [fault.get(name) for name in ("code", "status", "type")] if isinstance(fault, dict) else []
    for name in named:
        if isinstance(name, int | str) and re.fullmatch(r"[45]\d\d", str(name)):
            return int(name)
    # A message may be any text, so it is read only if code, status and type have no text.
    words = [name for name in named if isinstance(name, str)] or [fault_in(body)]
    return next((status for status, meant in _MEANT.items() if any(map(meant.search, words))), 400)


def listed_in(body: bytes) -> frozenset[str]:
    """The names in a server's list of models; empty if it has another format."""
    try:
        return frozenset(each["id"] for each in json.loads(body)["data"] if isinstance(each["id"], str))
    except (ValueError, KeyError, TypeError, RecursionError):
        return frozenset()


def not_taken(status: int, body: bytes, without: Collection[str], beside: Collection[str] = LIMITS) -> str | None:
    """The parameter that a response rejects, if it can be left out and is not in `without`, or is one of `beside`."""
    text = body.decode(errors="replace")
    if status not in (400, 422) or not _NOT_TAKEN.search(text):
        return None
    names = [*(name for name in SPARED if name not in without), *beside]
    return next((name for name in names if re.search(rf"\b{re.escape(name)}\b", text)), None)


def other_limit(limit: str) -> str:
    return LIMITS[limit == LIMITS[0]]


def read_reply(body: bytes, max_tokens: int) -> Reply:
    most = _LONGEST_TOKEN * max_tokens
    try:
        answer = json.loads(body)
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        message, finish = choice["message"], choice.get("finish_reason")
        refused = finish == "content_filter" or bool(message.get("refusal"))
        said, apart = _text_and_thoughts(message)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Transient(f"an answer that is no chat completion ({error}): {body[:80]!r}", may_cost=True) from None
    if finish in _BROKEN_OFF:
        told = fault_in(json.dumps(choice).encode()) if choice.get("error") else finish
        raise Transient(f"an answer that broke off: {told}", may_cost=True)
    is_cut_off = finish == "length" or len(said) > most
    parted = part_thoughts(_storable(said[:most]), is_cut_off)
    thoughts = filter(None, (_storable(apart[:most]).strip(), parted.thoughts))
    return Reply(
        text=parted.answer,
        finish="refused" if refused else "length" if is_cut_off else "stop",
        tokens_in=_tokens(usage, "prompt_tokens"),
        tokens_out=_tokens_out(usage),
        tokens=_token_ids(choice.get("token_ids")),
        reasoning="\n".join(thoughts),
        reasoning_tokens=_tokens_of_thoughts(usage),
        is_begun=parted.is_begun,
    )


def _text_and_thoughts(message: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a message, and the thoughts that the server separates: in a field or, like Mistral, in a part."""
    told = [message.get("reasoning"), message.get("reasoning_content")]
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, list):
        told += [_texts(part.get("thinking")) for part in content if part["type"] == "thinking"]
        content = _texts([part for part in content if part["type"] == "text"])
    if not isinstance(content, str):
        raise TypeError("the content is no text")
    return content, next((each for each in told if isinstance(each, str) and each), "")


def _texts(parts: Any) -> str:
    return parts if isinstance(parts, str) else "".join(part["text"] for part in parts or ())


def _token_ids(told: Any) -> tuple[int, ...]:
    """The token ids of an answer; empty if the server does not return them."""
    known = isinstance(told, list) and all(isinstance(token, int) and token >= 0 for token in told)
    return tuple(told) if known else ()


def _tokens(usage: Any, name: str) -> int:
    """A token count in the server's usage; 0 if it is missing or not plausible."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and 0 <= count < 2**40 else 0


def _tokens_out(usage: Any) -> int:
    """All generated tokens. Some servers leave thoughts out of `completion_tokens`, but include them in the total."""
    asked, made, total = (_tokens(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    return max(made, total - asked) if asked else made


def _tokens_of_thoughts(usage: Any) -> int:
    return _tokens(usage.get("completion_tokens_details"), "reasoning_tokens") if isinstance(usage, dict) else 0


def _storable(text: str) -> str:
    """Replace lone surrogates, as of an emoji cut at the last token: JSON allows them, UTF-8 and the ledger do not."""
    return text.encode(errors="replace").decode()


def fault_in(body: bytes) -> str:
    try:
        told = json.loads(body)
        # Gemini's server returns the error in a list.
        fault = (told[0] if isinstance(told, list) else told)["error"]
        return line(str(fault["message"] if isinstance(fault, dict) else fault)[:300])
    except (ValueError, LookupError, TypeError, RecursionError):
        return line(body[:120].decode(errors="replace").strip()) or "no reason given"
