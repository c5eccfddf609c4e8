"""Parses what servers with OpenAI's chat API return: answers, lists of models, errors."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from spavl.models.types import Reply, Transient
from spavl.text.final_answer import part_thoughts
from spavl.text.safe_print import line

# No tokenizer has a longer token. A text beyond the tokens that were asked for is cut off, as a model's would be.
_LONGEST_TOKEN = 256
# What can be left out of a request. Of two that a server does not take together, the first one goes.
SPARED = ("seed", "top_p", "temperature")
# Two names of one parameter, the most tokens of a reply. Each server takes at least one.
LIMITS = ("max_tokens", "max_completion_tokens")
# How servers say that they do not take a parameter; each names it beside these words.
_NOT_TAKEN = re.compile(
    r"unsupported|unknown|unrecognized|not support|not permitted|forbidden|deprecated|cannot both|only \S+ is allowed",
    re.IGNORECASE,
)
# What servers call their faults where they give no number, each with the status that it stands for.
_MEANT = {
    429: re.compile(r"rate.?limit|too.?many.?requests|throttl|resource.?exhausted", re.IGNORECASE),
    503: re.compile(
        r"overload|time.?d?.?out|deadline|server.?(?:had.an.)?error|internal|unavailable|capacity|bad.?gateway|"
        r"try again",
        re.IGNORECASE,
    ),
    401: re.compile(r"authentication|unauthorized|invalid.?api.?key|incorrect.?api.?key", re.IGNORECASE),
}
# How an answer ends that broke off because something failed: vLLM's, SGLang's and gateways' words.
_BROKEN_OFF = ("error", "abort")


def status_within(body: bytes) -> int:
    """The status that a gateway means where it answers 200 and tells an error, by number or by a word.

    One that tells neither is the request's.
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
    # A message is any text, and is read only where nothing else says what is meant.
    words = [name for name in named if isinstance(name, str)] or [fault_in(body)]
    return next((status for status, meant in _MEANT.items() if any(map(meant.search, words))), 400)


def listed_in(body: bytes) -> frozenset[str]:
    """The names in a server's list of models; none where it has another form."""
    try:
        return frozenset(each["id"] for each in json.loads(body)["data"] if isinstance(each["id"], str))
    except (ValueError, KeyError, TypeError, RecursionError):
        return frozenset()


def not_taken(status: int, body: bytes, without: Collection[str], beside: Collection[str] = LIMITS) -> str | None:
    """The parameter that an answer objects to, if it can be left out and was not yet, or is one of `beside`."""
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
        said, apart = _said(message)
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
        tokens=_drawn(choice.get("token_ids")),
        reasoning="\n".join(thoughts),
        reasoning_tokens=_tokens_of_thoughts(usage),
        is_begun=parted.is_begun,
    )


def _said(message: Mapping[str, Any]) -> tuple[str, str]:
    """What a message says, and what its server tells apart as thoughts, in a field or, as Mistral's, in a part."""
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


def _drawn(told: Any) -> tuple[int, ...]:
    """The very tokens of an answer, where the server tells them."""
    known = isinstance(told, list) and all(isinstance(token, int) and token >= 0 for token in told)
    return tuple(told) if known else ()


def _tokens(usage: Any, name: str) -> int:
    """What the server says was used, and 0 where it does not say so in earnest."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and 0 <= count < 2**40 else 0


def _tokens_out(usage: Any) -> int:
    """All that were made. Of some servers `completion_tokens` leaves out those of thoughts, and the total has them."""
    asked, made, total = (_tokens(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    return max(made, total - asked) if asked else made


def _tokens_of_thoughts(usage: Any) -> int:
    return _tokens(usage.get("completion_tokens_details"), "reasoning_tokens") if isinstance(usage, dict) else 0


def _storable(text: str) -> str:
    """JSON can hold half a character, such as an emoji cut at the last token; UTF-8 and thus the ledger cannot."""
    return text.encode(errors="replace").decode()


def fault_in(body: bytes) -> str:
    try:
        told = json.loads(body)
        # Gemini's server puts its error into a list.
        fault = (told[0] if isinstance(told, list) else told)["error"]
        return line(str(fault["message"] if isinstance(fault, dict) else fault)[:300])
    except (ValueError, LookupError, TypeError, RecursionError):
        return line(body[:120].decode(errors="replace").strip()) or "no reason given"
