"""Extracts the final answer from a model's reply: after its reasoning, out of tags, boxes and JSON."""

import re
import unicodedata
from typing import NamedTuple

_NAMES = r"(?:\w{1,20}:)?(?:think|thinking|thought|thoughts|reasoning|reason|scratchpad|analysis|reflection)"
# The start and end markers of reasoning, by model family; most use a tag. If the chat template writes the start
# marker, the reply has only the end marker; a reply that is cut off has only the start marker.
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
# Turn markers of gpt-oss, which occur inside its reasoning.
_IN_THOUGHTS = re.compile(r"<\|start\|>\s*assistant\b|<\|(?:message|end|channel|start)\|>")
# End-of-turn tokens that a server leaves in a reply. Only a few are matched: more would take quadratic time.
_TURN_ENDS = re.compile(r"(?:\s{0,9}(?:<[|｜](?!end_of_box)[^|｜<>\n]{1,40}[|｜]>|</s>|<end_of_turn>|<eos>)){1,9}\s*\Z")
_TURN_BEGINS = re.compile(r"\A(?:\s*<\|(?:im_)?start\|>(?:\s*assistant\b)?)+")
_TAGGED = re.compile(
    r"<(?:final[_ ]?)?answer\b[^<>]*>(.*?)(?:</(?:final[_ ]?)?answer\s*>|\Z)|<\|begin_of_box\|>(.*?)<\|end_of_box\|>",
    re.IGNORECASE | re.DOTALL,
)
# Of a longer answer only both ends are read: parsers of answers may take time quadratic in the length.
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
    """A reply split into its reasoning and its answer."""

    thoughts: str
    answer: str
    # Whether an end marker had no start marker: the chat template then wrote the start, before the reply.
    is_begun: bool = False


def part_thoughts(text: str, is_cut_off: bool = False, is_begun: bool = False) -> SplitReply:
    """Split a reply into reasoning and answer. A text without reasoning markers is returned unchanged as the answer.

    `is_begun`: the chat template wrote the start marker before the reply. A start marker in the middle of an answer,
    without an end marker, starts reasoning only if the reply was cut off. Otherwise it is quoted text, and what follows
    it must be judged.
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
    """Whether a rendered prompt ends with a start marker, so that the reply begins inside the reasoning."""
    text = prompt[-_LONGEST_MARK:].rstrip()
    return any(mark.end() == len(text) for mark in _THOUGHT_BEGINS.finditer(text))


def after_thoughts(text: str) -> str:
    """The text outside the reasoning, up to the end of the turn, with plain characters for full-width ones."""
    text = _TURN_BEGINS.sub("", "\n".join(_apart(text)[0]))
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    return _TURN_ENDS.sub("", text).strip()


def _apart(text: str) -> tuple[list[str], list[str], int | None]:
    """The text outside the reasoning, the reasoning, and the position of a start marker without an end, if any.

    Reasoning goes from a start marker to the next end marker. The text before an end marker without a start is
    reasoning too, back to the previous marker: some chat templates write the start themselves. After a start marker
    without an end, all text is reasoning.
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
    """The text with its reasoning markers disarmed, so that a text that quotes it is not split at them."""
    return _THOUGHT_BEGINS.sub(_in_round_brackets, _THOUGHT_ENDS.sub(_in_round_brackets, text))


def _in_round_brackets(mark: re.Match[str]) -> str:
    return f"({mark[0].strip('<>[]◁▷')})"


def final_answer(text: str) -> str:
    """The final answer of a reply. If several answers are boxed or tagged alike, all of them, joined with `or`.

    Other Markdown characters stay: they separate words as punctuation does.
    """
    text = after_thoughts(text)
    if len(text) > _LONGEST_READ:
        text = f"{text[: _LONGEST_READ // 2]}\n{text[-_LONGEST_READ // 2 :]}"
    text = _one_of([whole or box for whole, box in _TAGGED.findall(text)]) or text
    text = _one_of(_box_contents(text)) or text
    text = _one_of(["".join(values) for values in _JSON.findall(text)]) or text
    while (plain := _COMMAND.sub(r"\1", text)) != text:
        text = plain
    return _STRUCK.sub(" ", text).strip()


def _one_of(found: list[str]) -> str:
    return " or ".join(dict.fromkeys(filter(None, (each.strip() for each in found))))


def _box_contents(text: str) -> list[str]:
    """The content of each box, including nested braces."""
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
