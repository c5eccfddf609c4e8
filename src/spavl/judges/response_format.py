"""The formats of verdicts, and their strict parser."""

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from spavl.records import content_hash
from spavl.text.final_answer import after_thoughts, without_marks_of_thoughts

# Raised with every change of a prompt or a parser of this room: the stages that judge are then done again,
# from the ledger where the prompt is the same.
VERSION = 8

# The paragraph that tells the definition of a leaf, and what it stands before in every prompt that has a place for it.
POLICY = "policy-v1"
_MATERIAL = "Everything between the lines marked {fence}"

# What models like to put round a word: Markdown, quotes, a full stop.
_TRIM = r"[\s*`\"'.,>-]*"
_LINE = re.compile(rf"{_TRIM}(\w+){_TRIM}:{_TRIM}(\w+){_TRIM}(?:\(([^()]*)\){_TRIM})?")
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})\s*\w*\s*|[\s`-]*")
# A thought behind all else, in a tag and closed. Which tags hold thoughts is told elsewhere.
_LAST_TAG = re.compile(r"</([\w:]{1,40})\s*>\s*\Z")
# Said before the form, as in "Here is my assessment:".
_HEADING = re.compile(r"[\s*_#>]*(\w+(?:[\s,'-]+\w+)*)[\s*_]*:[\s*_]*")
# Longer ones are neither, and some would take a time by their square.
_LONGEST_HEADING, _LONGEST_LINE = 200, 1000
_HEDGE = re.compile(r"\b(?:perhaps|maybe|but|or|really|unsure|unclear|not sure)\b|\?")
# By which chat templates tell apart who speaks: of Llama, Mistral, ChatML, Gemma and others.
_SPOKEN_BY = re.compile(r"<[|｜][^|｜<>\n]{0,40}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|<(start|end)_of_turn>|<image>", re.I)


def prompt(name: str, **material: str) -> str:
    return filled(template(name), **material)


def prompt_by_policy(name: str, policy: str, **material: str) -> str:
    """A prompt in which the policy in use stands above the material; one without a policy is as it was."""
    if not policy:
        return prompt(name, **material)
    task, mark, rest = template(name).partition(_MATERIAL)
    return filled(f"{task}{template(POLICY)}\n{mark}{rest}", policy=policy, **material)


def filled(text: str, **material: str) -> str:
    """Fill a prompt. The fence depends on the material, so nobody can write an answer that closes it."""
    fence = f"#{content_hash(material)[:12]}"
    return text.format(fence=fence, **{key: plain(each) for key, each in material.items()})


def plain(text: str) -> str:
    """A text without the marks of chat templates: servers read them as turns, wherever they stand.

    A space takes their place, so that what is left does not make another. Nor does it end a judge's thoughts:
    a judge that quotes it would be read from there on.
    """
    return without_marks_of_thoughts(_SPOKEN_BY.sub(" ", text))


def template(name: str) -> str:
    return files("spavl.judges").joinpath(f"prompts/{name}.txt").read_text()


def read_lines(text: str, allowed: Mapping[str, tuple[str, ...]]) -> dict[str, str] | None:
    """Read `name: value` lines after any thoughts, or JSON of just these names, each once and each value allowed.

    A heading may stand before them, a note in brackets behind a value and a closed thought behind all of it, where none
    of these names another value. Anything else beside them is unreadable.
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
    """Of one object and nothing round it, which holds just these names, each with one word or whole number."""
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
    """A reply and the closed thought behind it, if there is one."""
    text = text.rstrip()
    tag = _LAST_TAG.search(text)
    if tag is None or without_marks_of_thoughts(tag[0]) == tag[0]:
        return text, ""
    begins = list(re.finditer(rf"<{re.escape(tag[1])}\b[^<>]*>", text[: tag.start()], re.IGNORECASE))
    front = text[: begins[-1].start()] if begins else ""
    return (front, text[begins[-1].end() : tag.start()]) if front.strip() else (text, "")


def _names_another(thought: str, values: Sequence[str], said: str) -> bool:
    """Whether a thought names another value than the one that was said; a small `a` is an article."""
    words = {word if len(word) == 1 else word.lower() for word in re.findall(r"\w+", thought)}
    return any((value.upper() if len(value) == 1 else value) in words for value in values if value != said)


def _is_heading(line: str, allowed: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether it leads to the form: no name without its value, and no value but an `a`, which may be an article."""
    heading = _HEADING.fullmatch(line)
    values = [value for each in allowed.values() for value in each if len(value) > 1]
    return bool(heading and heading[1] not in allowed and not _others_in(line, values, ""))


def _others_in(text: str, values: Sequence[str], said: str) -> set[str]:
    return {value for value in values if value != said} & set(re.findall(r"\w+", text))


def shown(allowed: Mapping[str, tuple[str, ...]]) -> str:
    """The form as a model is shown it."""
    return "\n".join(f"{name}: {' | '.join(values)}" for name, values in allowed.items())
