"""Conversations as trainers write them, read as one question, two answers to it, and what a system prompt said.

OpenAI's turns have `role` and `content`, as with TRL and ms-swift; ShareGPT's have `from` and `value`, as with
LLaMA-Factory, which may have a column `system` too. What is not one question with two answers is given without its
question, and never made into one by leaving turns out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_ROLES = {"human": "user", "gpt": "assistant", "developer": "system"}
_PROMPTS, _REJECTED = ("question", "prompt", "messages", "conversations"), ("rejected", "rejected_response")
_SYSTEM = ("system", "system_prompt")
# The columns whose texts are read here.
READ = {*_PROMPTS, *_REJECTED, *_SYSTEM, "chosen"}
_MARK = "<image>"


class Turn(NamedTuple):
    role: str
    text: str


class Answered(NamedTuple):
    """A question, which is missing where there is not just one, and its answers."""

    question: str | None
    chosen: str | None
    rejected: str | None
    system: str


def answered_of(row: Mapping[str, Any]) -> Answered:
    asked = _turns(next((row[name] for name in _PROMPTS if row.get(name)), None), "user")
    chosen = _turns(row.get("chosen"), "assistant")
    rejected = _turns(next((row[name] for name in _REJECTED if row.get(name)), None), "assistant")
    if not chosen and len(asked) > 1 and asked[-1].role == "assistant":
        # A conversation ends with the answer that is preferred.
        asked, chosen = asked[:-1], asked[-1:]
    spoken = (turn.text for turn in asked + chosen + rejected if turn.role == "system")
    said = [*(str(row.get(name) or "") for name in _SYSTEM), *spoken]
    asked, chosen, rejected = ([turn for turn in each if turn.role != "system"] for each in (asked, chosen, rejected))
    # Without a prompt of its own, it is what both conversations begin with; with one, they may begin with it again.
    asked = asked or chosen[:-1]
    is_of_one = all(each[:-1] in ([], asked) for each in (chosen, rejected))
    question = asked[0].text if is_of_one and [turn.role for turn in asked] == ["user"] else None
    if question and not isinstance(row.get("question"), str):
        # A question in a column of its own has no such mark: what looks like one is a part of it.
        question = _unmarked(question)
    system = "\n\n".join(dict.fromkeys(text.strip() for text in said if text.strip()))
    answers = (_last(chosen, row.get("chosen")), _last(rejected, row.get("rejected")))
    return Answered(question, *answers, system)


def _turns(value: Any, role: str) -> list[Turn]:
    """A text alone is a turn of whoever speaks there."""
    if not value:
        return []
    if isinstance(value, str):
        return [Turn(role, value)]
    turns: Sequence[Mapping[str, Any]] = [value] if isinstance(value, Mapping) else value
    return [Turn(_role(turn), _text(turn.get("content") if "content" in turn else turn.get("value"))) for turn in turns]


def _role(turn: Mapping[str, Any]) -> str:
    name = str(turn.get("role") or turn.get("from") or "").lower()
    return _ROLES.get(name, name)


def _last(turns: Sequence[Turn], cell: Any) -> str | None:
    """An answer that is there and says nothing is not one that is missing."""
    return turns[-1].text if turns else "" if cell == "" else None


def _unmarked(text: str) -> str:
    """Without the mark that says where its one picture stands."""
    return text.replace(_MARK, "", 1).strip() if _MARK in text else text


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or () if isinstance(part, dict))
