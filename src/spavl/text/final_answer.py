"""Extracts the answer of a model's reply: after its reasoning, out of tags, boxes and JSON."""

import re
import unicodedata
from typing import NamedTuple

_NAMES = r"(?:\w{1,20}:)?(?:think|thinking|thought|thoughts|reasoning|reason|scratchpad|analysis|reflection)"
# How thoughts begin and end, by whose models write them so. Most think in a tag. Templates that open the thoughts
# themselves leave an end without a beginning; a reply cut short, the reverse.
_THOUGHTS = {
    "tags": (rf"<{_NAMES}\b[^<>]*>", rf"</{_NAMES}\s*>"),
    "Mistral": (r"\[THINK\]", r"\[/THINK\]"),
    "Kimi": ("◁think▷", "◁/think▷"),
    "MedGemma": ("<unused94>", "<unused95>"),
    "Gemma 4": (r"<\|channel>\s*thought\b", r"<channel\|>"),
    "Cohere": (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    "OpenThoughts": (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    "gpt-oss": (
        r"<\|channel\|>\s*(?:analysis|commentary)\b",
        r"<\|channel\|>\s*final\b[^<>]*(?:<\|[^|<>]*\|>[^<>]*)?<\|message\|>|assistantfinal",
    ),
}
_THOUGHT_BEGINS = re.compile("|".join(begin for begin, _ in _THOUGHTS.values()), re.IGNORECASE)
_THOUGHT_ENDS = re.compile("|".join(end for _, end in _THOUGHTS.values()), re.IGNORECASE)
# Marks of gpt-oss's turns, which stand among its thoughts.
_IN_THOUGHTS = re.compile(r"<\|start\|>\s*assistant\b|<\|(?:message|end|channel|start)\|>")
# What a server leaves at the end of a turn: a few such marks, where more would take a time by their square.
_TURN_ENDS = re.compile(r"(?:\s{0,9}(?:<[|｜](?!end_of_box)[^|｜<>\n]{1,40}[|｜]>|</s>|<end_of_turn>|<eos>)){1,9}\s*\Z")
_TURN_BEGINS = re.compile(r"\A(?:\s*<\|(?:im_)?start\|>(?:\s*assistant\b)?)+")
_TAGGED = re.compile(
    r"<(?:final[_ ]?)?answer\b[^<>]*>(.*?)(?:</(?:final[_ ]?)?answer\s*>|\Z)|<\|begin_of_box\|>(.*?)<\|end_of_box\|>",
    re.IGNORECASE | re.DOTALL,
)
# A longer answer is read at both its ends: what reads words out of it may take a time by the square of its length.
_LONGEST_READ = 8000
_BOX = re.compile(r"\\f?boxed\s*\{")
_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|textbf|textit|mathit|mathsf|textrm|mbox|bm|bf|rm)\b\s*\{([^{}]*)\}")
_VALUE = r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|\[([^\]]*)\]|([^\s,}\]]+)"
_JSON = re.compile(
    rf"[{{,]\s*[\"'](?:(?:final|correct|my|your|predicted)[_ ]?)?(?:answer|choice|option|prediction|label)[\"']\s*:\s*"
    rf"(?:{_VALUE})",
    re.IGNORECASE,
)
_LONGEST_MARK = 100
_STRUCK = re.compile(r"~~[^~\n]*~~")


class SplitReply(NamedTuple):
    """A reply's thoughts, and what it says outside of them."""

    thoughts: str
    answer: str
    # Whether an end came without a beginning: the chat template writes that, before the model speaks.
    is_begun: bool = False


def part_thoughts(text: str, is_cut_off: bool = False, is_begun: bool = False) -> SplitReply:
    """Thoughts and answer apart. A text without marks of thoughts is an answer, and stays as it is to the letter.

    `is_begun`: the chat template has begun a thought before it. A beginning in the middle of an answer that nothing
    ends is a thought only where the reply was cut off: else it is quoted, and what stands behind it has to be judged.
    """
    kept, thoughts, opened = _apart(f"<think>{text}" if is_begun else text)
    if opened is not None and not is_cut_off and "".join(kept).strip():
        kept, thoughts, _ = _apart(text[:opened])
        kept[-1] += text[opened:]
    if not thoughts:
        return SplitReply("", text)
    answer = _TURN_ENDS.sub("", _TURN_BEGINS.sub("", "\n".join(kept))).strip()
    told = "\n".join(filter(None, (_IN_THOUGHTS.sub("", each).strip() for each in thoughts)))
    first = _THOUGHT_ENDS.search(text)
    return SplitReply(told, answer, first is not None and not _THOUGHT_BEGINS.search(text, 0, first.start()))


def begins_thought(prompt: str) -> bool:
    """Whether a chat template's text ends with the beginning of a thought, so that a reply goes on with it."""
    text = prompt[-_LONGEST_MARK:].rstrip()
    return any(mark.end() == len(text) for mark in _THOUGHT_BEGINS.finditer(text))


def after_thoughts(text: str) -> str:
    """What is said outside of thoughts to the end of the turn, with plain letters and signs for wide ones."""
    text = _TURN_BEGINS.sub("", "\n".join(_apart(text)[0]))
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    return _TURN_ENDS.sub("", text).strip()


def _apart(text: str) -> tuple[list[str], list[str], int | None]:
    """What stands outside of thoughts, the thoughts, and where the last one begins if it has no end.

    A thought goes from its beginning to the next end, and what stands around it stays. What stands before an end that
    nothing began is a thought too, back to the last mark: some templates begin the thought themselves. A beginning
    without an end cuts off all behind it.
    """
    begins = ((mark.start(), mark.end(), True) for mark in _THOUGHT_BEGINS.finditer(text))
    ends = ((mark.start(), mark.end(), False) for mark in _THOUGHT_ENDS.finditer(text))
    kept, thoughts, place, opened = list[str](), list[str](), 0, None
    for start, end, is_begin in sorted([*begins, *ends]):
        (kept if is_begin and opened is None else thoughts).append(text[place:start])
        opened, place = (start if opened is None else opened) if is_begin else None, end
    (kept if opened is None else thoughts).append(text[place:])
    return kept, thoughts, opened


def without_marks_of_thoughts(text: str) -> str:
    """A text in which nothing begins or ends a thought: who quotes it is not cut short where it did."""
    return _THOUGHT_BEGINS.sub(_in_round_brackets, _THOUGHT_ENDS.sub(_in_round_brackets, text))


def _in_round_brackets(mark: re.Match[str]) -> str:
    return f"({mark[0].strip('<>[]◁▷')})"


def final_answer(text: str) -> str:
    """What is said last and for good. Where several answers are boxed or tagged alike, all of them, with `or` between.

    Other signs of Markdown stay: they part words as punctuation does.
    """
    text = after_thoughts(text)
    if len(text) > _LONGEST_READ:
        text = f"{text[: _LONGEST_READ // 2]}\n{text[-_LONGEST_READ // 2 :]}"
    text = _one_of([whole or box for whole, box in _TAGGED.findall(text)]) or text
    text = _one_of(_boxed(text)) or text
    text = _one_of(["".join(values) for values in _JSON.findall(text)]) or text
    while (plain := _COMMAND.sub(r"\1", text)) != text:
        text = plain
    return _STRUCK.sub(" ", text).strip()


def _one_of(found: list[str]) -> str:
    return " or ".join(dict.fromkeys(filter(None, (each.strip() for each in found))))


def _boxed(text: str) -> list[str]:
    """What stands in each box, with braces inside it."""
    found, end = [], 0
    for box in _BOX.finditer(text):
        if box.start() < end:
            continue
        depth, end = 1, box.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append(text[box.end() : end - (not depth)])
    return found
