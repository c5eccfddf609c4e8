"""The reply formats of guards and judges, and their strict parser."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from spavl.records import content_hash
from spavl.text.final_answer import after_thoughts, without_marks_of_thoughts

# Raise it with every change of a prompt or a parser in this package: the stages that judge then run again, and take
# replies from the ledger where the prompt is the same.
VERSION = 8

# The paragraph with the definition of a leaf, and the text of a prompt before which it is inserted.
POLICY = "policy-v1"
_MATERIAL = "Everything between the lines marked {fence}"

# What models put around a word: Markdown, quotes, a full stop.
_TRIM = r"[\s*`\"'.,>-]*"
_LINE = re.compile(rf"{_TRIM}(\w+){_TRIM}:{_TRIM}(\w+){_TRIM}(?:\(([^()]*)\){_TRIM})?")
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})\s*\w*\s*|[\s`-]*")
# The closing tag of a thought at the end of a reply. `without_marks_of_thoughts` knows which tags hold thoughts.
_LAST_TAG = re.compile(r"</([\w:]{1,40})\s*>\s*\Z")
# A line before the verdict, as in "Here is my assessment:".
_HEADING = re.compile(r"[\s*_#>]*(\w+(?:[\s,'-]+\w+)*)[\s*_]*:[\s*_]*")
# Longer ones are not parsed: some would take quadratic time.
_LONGEST_HEADING, _LONGEST_LINE = 200, 1000
_HEDGE = re.compile(r"\b(?:perhaps|maybe|but|or|really|unsure|unclear|not sure)\b|\?")
# The marks by which chat templates separate speakers: of Llama, Mistral, ChatML, Gemma and others.
_SPOKEN_BY = re.compile(r"<[|｜][^|｜<>\n]{0,40}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|<(start|end)_of_turn>|<image>", re.I)


def prompt(name: str, **material: str) -> str:
    return fill_prompt(template(name), **material)


def prompt_by_policy(name: str, policy: str, **material: str) -> str:
    """Fill a prompt, with the policy in use above the material. Without a policy, it is the same as `prompt`."""
    if not policy:
        return prompt(name, **material)
    task, mark, rest = template(name).partition(_MATERIAL)
    return fill_prompt(f"{task}{template(POLICY)}\n{mark}{rest}", policy=policy, **material)


def fill_prompt(text: str, **material: str) -> str:
    """Fill a prompt. The fence is a hash of the material, so no answer can contain the fence that closes it."""
    fence = f"#{content_hash(material)[:12]}"
    return text.format(fence=fence, **{key: plain(each) for key, each in material.items()})


def plain(text: str) -> str:
    """A text without the marks of chat templates, which servers parse as turns anywhere in a text.

    A space replaces each mark, so that the rest does not form another. Marks of thoughts are replaced too: if a
    judge quoted one, the parser would take the text after it for the verdict.
    """
    return without_marks_of_thoughts(_SPOKEN_BY.sub(" ", text))


@cache
def template(name: str) -> str:
    return files("spavl.judges").joinpath(f"prompts/{name}.txt").read_text()


def read_lines(text: str, allowed: Mapping[str, tuple[str, ...]]) -> dict[str, str] | None:
    """Parse `name: value` lines after any thoughts, or JSON with exactly these names, each once with an allowed value.

    A heading before them, a note in brackets after a value and a closed thought at the end are accepted if none of them
    names another value. Any other text makes the reply unreadable: None.
    """
    text, thought = _without_last_thought(text)
    values = _values(text, allowed)
    if values is None or any(_names_another(thought, allowed[name], value) for name, value in values.items()):
        return None
    return values


def _values(text: str, allowed: Mapping[str, tuple[str, ...]]) -> dict[str, str] | None:
    lines = [line for line in after_thoughts(text).lower().splitlines() if not _FENCE.fullmatch(line)]
    if max(map(len, lines), default=0) > _LONGEST_LINE:
        return None
    if lines and len(lines[0]) <= _LONGEST_HEADING and _is_heading(lines[0], allowed):
        del lines[0]
    if lines and lines[0].lstrip().startswith("{"):
        return _values_in_json("\n".join(lines), allowed)
    found = [(match[1], match[2], match[3] or "") for line in lines if (match := _LINE.fullmatch(line))]
    values = {name: value for name, value, _ in found}
    readable = len(lines) == len(found) == len(values) and values.keys() == allowed.keys()
    if not readable or not all(values[name] in allowed[name] for name in allowed):
        return None
    doubted = any(_HEDGE.search(note) or _others_in(note, allowed[name], value) for name, value, note in found)
    return None if doubted else values


def _values_in_json(text: str, allowed: Mapping[str, tuple[str, ...]]) -> dict[str, str] | None:
    """Parse a single JSON object with exactly these names, each with a string or an integer."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) or type(value) is int for _, value in pairs):
        return None
    values = {name.strip(): str(value).strip() for name, value in pairs}
    readable = len(pairs) == len(values) and values.keys() == allowed.keys()
    return values if readable and all(values[name] in allowed[name] for name in allowed) else None


def _without_last_thought(text: str) -> tuple[str, str]:
    """A reply without the closed thought at its end, and that thought; empty if there is none."""
    text = text.rstrip()
    tag = _LAST_TAG.search(text)
    if tag is None or without_marks_of_thoughts(tag[0]) == tag[0]:
        return text, ""
    begins = list(re.finditer(rf"<{re.escape(tag[1])}\b[^<>]*>", text[: tag.start()], re.IGNORECASE))
    front = text[: begins[-1].start()] if begins else ""
    return (front, text[begins[-1].end() : tag.start()]) if front.strip() else (text, "")


def _names_another(thought: str, values: Sequence[str], said: str) -> bool:
    """Whether a thought names another value than the reply; a lower-case `a` is an article."""
    words = {word if len(word) == 1 else word.lower() for word in re.findall(r"\w+", thought)}
    return any((value.upper() if len(value) == 1 else value) in words for value in values if value != said)


def _is_heading(line: str, allowed: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a line is a heading: it is not just a name, and holds no value except an `a`, which may be an article."""
    heading = _HEADING.fullmatch(line)
    values = [value for each in allowed.values() for value in each if len(value) > 1]
    return bool(heading and heading[1] not in allowed and not _others_in(line, values, ""))


def _others_in(text: str, values: Sequence[str], said: str) -> set[str]:
    return {value for value in values if value != said} & set(re.findall(r"\w+", text))


def reply_format(allowed: Mapping[str, tuple[str, ...]]) -> str:
    """The format as the prompt shows it to a model."""
    return "\n".join(f"{name}: {' | '.join(values)}" for name, values in allowed.items())
