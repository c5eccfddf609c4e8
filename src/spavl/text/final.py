"""The part of a model's reply that gives its answer: after its thoughts, out of tags, boxes and JSON."""

import re
import unicodedata

_NAMES = r"(?:\w{1,20}:)?(?:think|thinking|thought|thoughts|reasoning|reason|scratchpad|analysis|reflection)"
# Templates that open the thoughts themselves leave an end without a beginning; a reply cut short, the reverse.
# Most models think in a tag; Mistral's, Kimi, Gemma, Cohere's and gpt-oss have marks of their own.
_THOUGHT_ENDS = re.compile(
    rf"</{_NAMES}\s*>|\[/THINK\]|◁/think▷|<unused95>|<\|END_THINKING\|>|"
    r"<\|channel\|>\s*final\b[^<>]*(?:<\|[^|<>]*\|>[^<>]*)?<\|message\|>|assistantfinal",
    re.IGNORECASE,
)
_THOUGHT_BEGINS = re.compile(
    rf"<{_NAMES}\b[^<>]*>|\[THINK\]|◁think▷|<unused94>|<\|START_THINKING\|>|<\|channel\|>\s*(?:analysis|commentary)\b",
    re.IGNORECASE,
)
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
_STRUCK = re.compile(r"~~[^~\n]*~~")


def after_thoughts(text: str) -> str:
    """What is said outside of thoughts to the end of the turn, with plain letters and signs for wide ones."""
    text = _TURN_BEGINS.sub("", _without_thoughts(text))
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    return _TURN_ENDS.sub("", text).strip()


def _without_thoughts(text: str) -> str:
    """A thought goes from its beginning to the next end, and what stands around it stays.

    What stands before an end that nothing began is a thought too, back to the last mark: some templates begin the
    thought themselves. A beginning without an end cuts off all behind it.
    """
    begins = ((mark.start(), mark.end(), True) for mark in _THOUGHT_BEGINS.finditer(text))
    ends = ((mark.start(), mark.end(), False) for mark in _THOUGHT_ENDS.finditer(text))
    kept, place, inside = list[str](), 0, False
    for start, end, is_begin in sorted([*begins, *ends]):
        if is_begin and not inside:
            kept.append(text[place:start])
        inside, place = is_begin, end
    return "\n".join(kept if inside else [*kept, text[place:]])


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
