"""Servers for tests whose models think before they answer, as vLLM and SGLang serve them.

`parsed` is `vllm serve … --reasoning-parser`: the thoughts come in a field of their own, `reasoning` since vLLM 0.11
and `reasoning_content` before it and elsewhere. `raw` has no parser: the thoughts stand in the text, between tags, or
without the first tag where the chat template wrote that. `hidden` tells the number of their tokens alone, as OpenAI.

A token is a word. What does not fit into the limit that was asked for is cut off, thoughts first.
"""

import re
from collections.abc import Callable

from aiohttp import web

from tests.support.servers import Answer, Body, completion

# It weighs both verdicts and both ends, so whoever reads it for an answer is led astray.
PONDERED = (
    "Okay , the user wants this . Perhaps I'm sorry, but I can't help with that. Or verdict: safe\nseverity: 0\n"
    "refuses: yes\nor rather\nverdict: unsafe\nseverity: 3\nrefuses: no\nquestion: harmful\nunsafe\nS1\n"
    "overall: B\nrelevant: no\nabout: no\nharm: text\n"
)
# What no answer may hold.
TRACE = "Okay , the user wants this"
Style = Callable[[str, list[str], int], web.Response]
_WORD = re.compile(r"\S+\s*")


def thinks(answer: Callable[[Body], str], style: Style, tokens: int = 700, context: int = 0) -> Answer:
    """A model of this style that says the same as `answer`, after so many tokens of thoughts.

    `context`: so many tokens it has, and a request for more is turned down in vLLM's words.
    """

    def think(body: Body) -> web.Response:
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 10**6
        if context and limit > context:
            told = f"'max_tokens' or 'max_completion_tokens' is too large: {limit}. This model's maximum context length"
            told += f" is {context} tokens and your request has 40 input tokens ({limit} > {context} - 40)."
            return web.json_response({"error": {"message": told, "code": 400}}, status=400)
        off = body.get("chat_template_kwargs", {}).get("enable_thinking") is False
        words = _WORD.findall(PONDERED)
        thought = [] if off else (words * (1 + tokens // len(words)))[:tokens]
        return style(answer(body), thought, limit)

    return think


def _parsed(field: str) -> Style:
    def spoken(answer: str, thought: list[str], limit: int) -> web.Response:
        said = _WORD.findall(answer)[: max(0, limit - len(thought) - 1)]
        ended = len(said) == len(_WORD.findall(answer))
        message = {"role": "assistant", "content": "".join(said) or None, field: "".join(thought[:limit]) or None}
        return completion(None, "stop" if ended else "length", _used(len(thought), len(said), limit), message)

    return spoken


def _raw(begin: str, end: str) -> Style:
    def spoken(answer: str, thought: list[str], limit: int) -> web.Response:
        whole = [begin, *thought, f"\n{end}\n\n"] if thought else []
        words = [each for each in [*whole, *_WORD.findall(answer)] if each]
        finish = "stop" if len(words) <= limit else "length"
        return completion("".join(words[:limit]), finish, _used(0, len(words), limit, told=False))

    return spoken


def hidden(answer: str, thought: list[str], limit: int) -> web.Response:
    said = _WORD.findall(answer)[: max(0, limit - len(thought))]
    ended = len(said) == len(_WORD.findall(answer))
    return completion("".join(said), "stop" if ended else "length", _used(len(thought), len(said), limit))


def _used(thought: int, said: int, limit: int, told: bool = True) -> Body:
    used: Body = {"prompt_tokens": 50, "completion_tokens": min(limit, thought + said)}
    if told:
        used["completion_tokens_details"] = {"reasoning_tokens": min(limit, thought)}
    return used | {"total_tokens": 50 + used["completion_tokens"]}


STYLES: dict[str, Style] = {
    "reasoning": _parsed("reasoning"),
    "reasoning_content": _parsed("reasoning_content"),
    "tags": _raw("<think>\n", "</think>"),
    "no first tag": _raw("", "</think>"),
    "hidden": hidden,
}
