"""Reads trainers' conversations as one question, two answers and a system prompt.

OpenAI's turns have `role` and `content`, as with TRL and ms-swift. ShareGPT's have `from` and `value`, as with
LLaMA-Factory, which may have a column `system`, too. If a conversation is not one question with two answers, its
question is None: no turns are left out to make it one. If an answer is not a turn of the assistant, its role is
reported.

The parts of a text are joined with a space. The place of the image is not kept: it is shown before the question.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

_ROLES = {"human": "user", "developer": "system"} | dict.fromkeys(("gpt", "model", "bot", "chatgpt"), "assistant")
# LLaMA-Factory's alpaca form: an instruction, more of the question, and the turns before it.
_ALPACA = ("instruction", "input", "history")
_PROMPTS = ("question", "prompt", "messages", "conversations", _ALPACA[0])
# The answer of a pair, or the only one of a row of demonstrations, as TRL and LLaMA-Factory name it.
_CHOSEN = ("chosen", "completion", "output")
_REJECTED = ("rejected", "rejected_response", "rejected_messages")
_SYSTEM = ("system", "system_prompt")
_MARK = "<image>"


class ConversationTurn(NamedTuple):
    role: str
    text: str
    # Whether it has an image as a part of its own, and whether words come both before and after that image.
    shows: bool = False
    is_amid: bool = False

    def role_and_text(self) -> tuple[str, str]:
        return self.role, self.text


class ConversationPair(NamedTuple):
    """A question and its answers. The question is None if the conversation does not have exactly one."""

    question: str | None
    chosen: str | None
    rejected: str | None
    system: str
    # The role of an answer's turn if it is not the assistant's, such as a tool; else empty.
    other_speaker: str = ""
    # Whether the question has words both before and after its image.
    is_amid: bool = False


def read_among(columns: Collection[str]) -> set[str]:
    """The columns of a table whose texts are read here. An instruction beside a question is not."""
    is_asked = any(name in columns for name in _PROMPTS if name not in _ALPACA)
    return {*_PROMPTS, *_ALPACA, *_CHOSEN, *_REJECTED, *_SYSTEM} - (set(_ALPACA) if is_asked else set())


def answered_of(row: Mapping[str, Any]) -> ConversationPair:
    asked = _turns(next((_asked_in(row, name) for name in _PROMPTS if row.get(name)), None), "user")
    chosen, rejected = (_turns(_first_of(row, names), "assistant") for names in (_CHOSEN, _REJECTED))
    if not chosen and len(asked) > 1 and asked[-1].role == "assistant":
        # The conversation ends with the preferred answer.
        asked, chosen = asked[:-1], asked[-1:]
    spoken = (turn.text for turn in asked + chosen + rejected if turn.role == "system")
    said = [*(str(row.get(name) or "") for name in _SYSTEM), *spoken]
    asked, chosen, rejected = ([turn for turn in each if turn.role != "system"] for each in (asked, chosen, rejected))
    # Without a prompt column, the prompt is the common beginning of both conversations. With one, they may repeat it.
    asked = asked or chosen[:-1]
    alike: tuple[list[tuple[str, str]], ...] = ([], [turn.role_and_text() for turn in asked])
    is_of_one = all([turn.role_and_text() for turn in each[:-1]] in alike for each in (chosen, rejected))
    first = asked[0] if is_of_one and [turn.role for turn in asked] == ["user"] else ConversationTurn("", "")
    if not first.shows and not isinstance(row.get("question"), str):
        # A question in its own column, or with its image as a separate part, has no image mark: text that looks like
        # one belongs to the question.
        first = _without_image_mark(first)
    system = "\n\n".join(dict.fromkeys(text.strip() for text in said if text.strip()))
    answers = (_last(chosen, _first_of(row, _CHOSEN)), _last(rejected, _first_of(row, _REJECTED)))
    others = [each[-1].role for each in (chosen, rejected) if each and each[-1].role != "assistant"]
    other = (others[0] or "nobody") if others else ""
    return ConversationPair(first.text if first.role else None, *answers, system, other, first.is_amid)


def _first_of(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first cell with content, else an empty one, which is an empty answer; None if there is neither."""
    cells = [row[name] for name in names if row.get(name) is not None]
    return next(filter(None, cells), cells[0] if cells else None)


def _asked_in(row: Mapping[str, Any], name: str) -> Any:
    """The prompt of a row. LLaMA-Factory asks an instruction and its input as two lines, after the turns before."""
    instruction, more, before = _ALPACA
    if name != instruction:
        return row[name]
    if row.get(before):
        return [{"role": "user", "content": text} for pair in row[before] for text in pair]
    return "\n".join(str(row[each]) for each in (instruction, more) if row.get(each))


def _turns(value: Any, role: str) -> list[ConversationTurn]:
    """The turns of a cell. A plain text is one turn of the given role."""
    if not value:
        return []
    if isinstance(value, str):
        return [ConversationTurn(role, value)]
    turns: Sequence[Mapping[str, Any]] = [value] if isinstance(value, Mapping) else value
    return [_turn(_role(turn), _first_of(turn, ("content", "value"))) for turn in turns]


def _turn(role: str, content: Any) -> ConversationTurn:
    """A turn from a text, or from parts, whose texts are joined."""
    parts = [content] if isinstance(content, str | Mapping) else list(content or ())
    texts = ["" if _is_image(part) else _text(part) for part in parts]
    shown = [place for place, part in enumerate(parts) if _is_image(part)]
    is_amid = any("".join(texts[:place]).strip() and "".join(texts[place:]).strip() for place in shown)
    return ConversationTurn(role, _together(texts), bool(shown), is_amid)


def _role(turn: Mapping[str, Any]) -> str:
    name = str(turn.get("role") or turn.get("from") or "").lower()
    return _ROLES.get(name, name)


def _last(turns: Sequence[ConversationTurn], cell: Any) -> str | None:
    """The text of the last turn. An empty cell is an empty answer, and any other cell without turns a missing one."""
    return turns[-1].text if turns else "" if cell == "" else None


def _without_image_mark(turn: ConversationTurn) -> ConversationTurn:
    """The turn without the first image mark in its text."""
    if _MARK not in turn.text:
        return turn
    before, _, after = turn.text.partition(_MARK)
    words, more = before.rstrip(), after.lstrip()
    gap = max(before[len(words) :], after[: len(after) - len(more)], key=len)
    text = f"{words}{gap or ' '}{more}".strip()
    return turn._replace(text=text, is_amid=bool(words and more))


def _together(texts: Sequence[str]) -> str:
    whole = ""
    for text in filter(None, texts):
        is_parted = not whole or whole[-1].isspace() or text[0].isspace()
        whole += text if is_parted else f" {text}"
    return whole


def _text(part: Any) -> str:
    return part if isinstance(part, str) else str((part.get("text") or "") if isinstance(part, Mapping) else "")


def _is_image(part: Any) -> bool:
    return isinstance(part, Mapping) and "image" in str(part.get("type") or "")
