"""The forms in which models are asked for a verdict, and the strict reading of what they fill in."""

import re
from collections.abc import Mapping
from importlib.resources import files

from spavl.records import content_hash

# Raised with every change of a prompt or a parser of this room: the stages that judge are then done again,
# from the ledger where the prompt is the same.
VERSION = 5

# What models like to put round a word: Markdown, quotes, a full stop.
_TRIM = r"[\s*`\"'.,>-]*"
_LINE = re.compile(rf"{_TRIM}(\w+){_TRIM}:{_TRIM}(\w+){_TRIM}")
# By which chat templates tell apart who speaks: of Llama, Mistral, ChatML, Gemma and others.
_SPOKEN_BY = re.compile(r"<[|｜][^|｜<>\n]{0,40}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|<(start|end)_of_turn>|<image>", re.I)


def prompt(name: str, **material: str) -> str:
    return filled(template(name), **material)


def filled(text: str, **material: str) -> str:
    """Fill a prompt. The fence hangs on the material, so nobody can write an answer that closes it."""
    fence = f"#{content_hash(material)[:12]}"
    return text.format(fence=fence, **{key: plain(each) for key, each in material.items()})


def plain(text: str) -> str:
    """A text without the marks of chat templates: servers read them as turns, wherever they stand.

    A space takes their place, so that what is left does not make another.
    """
    return _SPOKEN_BY.sub(" ", text)


def template(name: str) -> str:
    return files("spavl.judges").joinpath(f"prompts/{name}.txt").read_text()


def read_lines(text: str, allowed: Mapping[str, tuple[str, ...]]) -> dict[str, str] | None:
    """Read `name: value` lines, each name once and each value allowed; anything beside them is unreadable."""
    lines = [line for line in text.lower().splitlines() if line.strip().strip("`-")]
    found = [(match[1], match[2]) for line in lines if (match := _LINE.fullmatch(line))]
    values = dict(found)
    readable = len(lines) == len(found) == len(values) and values.keys() == allowed.keys()
    return values if readable and all(values[name] in allowed[name] for name in allowed) else None


def shown(allowed: Mapping[str, tuple[str, ...]]) -> str:
    """The form as a model is shown it."""
    return "\n".join(f"{name}: {' | '.join(values)}" for name, values in allowed.items())
