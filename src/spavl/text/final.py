"""The part of a model's reply that gives its answer: after its thoughts, out of tags, boxes and JSON."""

import re
import unicodedata

_NAMES = "think|thinking|thought|thoughts|reasoning|reason|scratchpad|analysis|reflection"
# Templates that open the thoughts themselves leave an end without a beginning; a reply cut short, the reverse.
_THOUGHT_ENDS = re.compile(rf"</(?:{_NAMES})\s*>|◁/think▷", re.IGNORECASE)
_THOUGHT_BEGINS = re.compile(rf"<(?:{_NAMES})\b[^<>]*>|◁think▷", re.IGNORECASE)
_TAGGED = re.compile(
    r"<(?:final[_ ]?)?answer\b[^<>]*>(.*?)(?:</(?:final[_ ]?)?answer\s*>|\Z)|<\|begin_of_box\|>(.*?)<\|end_of_box\|>",
    re.IGNORECASE | re.DOTALL,
)
_BOX = re.compile(r"\\f?boxed\s*\{")
_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|textbf|textit|mathit|mathsf|textrm|mbox|bm|bf|rm)\b\s*\{([^{}]*)\}")
_VALUE = r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|\[([^\]]*)\]|([^\s,}\]]+)"
_JSON = re.compile(
    rf"[{{,]\s*[\"'](?:(?:final|correct|my|your|predicted)[_ ]?)?(?:answer|choice|option|prediction|label)[\"']\s*:\s*"
    rf"(?:{_VALUE})",
    re.IGNORECASE,
)
_STRUCK = re.compile(r"~~[^~\n]*~~")


def final_answer(text: str) -> str:
    """What is said last and for good. Where several answers are boxed or tagged alike, all of them, with `or` between.

    Other signs of Markdown stay: they part words as punctuation does.
    """
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    text = _THOUGHT_ENDS.split(text)[-1]
    text = _THOUGHT_BEGINS.split(text)[0]
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
