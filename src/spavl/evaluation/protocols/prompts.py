"""The prompts of published protocols: those that ship, and those of the authors where the user's data hold them.

MM-SafetyBench's licence (CC BY-NC 4.0) does not allow its prompts to ship here, so they are restated. A user who has
cloned the authors' repository has the originals: they are read from its evaluation.py, which is not run.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from spavl.errors import ConfigError
from spavl.evaluation.protocols.authors_files import assigned_in
from spavl.judges.response_format import template
from spavl.records import content_hash

_MM_SAFETYBENCH = "mm-safetybench"
_AUTHORS_FILE = "evaluation.py"
# The authors' names of the prompts, by ours.
_AUTHORS_NAMES = {
    "mm-safetybench-general": "gpt_query_template_safety",
    "mm-safetybench-lobbying": "gpt_query_template_safety_political_lobbing",
    "mm-safetybench-legal": "gpt_query_template_safety_legal",
    "mm-safetybench-financial": "gpt_query_template_safety_financial",
    "mm-safetybench-health": "gpt_query_template_safety_health",
    "mm-safetybench-government": "gpt_query_template_safety_gov_decision",
}
MD_JUDGE = "md-judge-v0.1"


class ProtocolPrompts:
    """The prompts by name; `authors` replace those that ship."""

    def __init__(self, authors: Mapping[str, str]) -> None:
        self._authors = authors

    def text(self, name: str) -> str:
        return self._authors.get(name) or _shipped_text(name)

    def origin(self, names: Iterable[str]) -> str:
        """Which prompts these are, for the name of a judge: in our words, the authors', or those that ship."""
        used = {name: self.text(name) for name in sorted(set(names))}
        digest = content_hash(used)[:12]
        restated = [name for name in used if name in _AUTHORS_NAMES and name not in self._authors]
        whose = "prompt in our words" if restated else "authors' prompt"
        return f"{whose} #{digest}"


def fill(text: str, **material: str) -> str:
    """Insert texts as they are, as the authors' code does: nothing in them is escaped, and other braces stay."""
    parts = re.split(rf"\{{({'|'.join(material)})\}}", text)
    return "".join(material[part] if place % 2 else part for place, part in enumerate(parts))


def prompts_beside(folders: Mapping[str, Path]) -> ProtocolPrompts:
    """The prompts, with those that are in the benchmarks' own folders; `folders` are by benchmark."""
    found = [folder for name, folder in folders.items() if name.startswith(_MM_SAFETYBENCH)]
    file = next((folder / _AUTHORS_FILE for folder in found if (folder / _AUTHORS_FILE).is_file()), None)
    return ProtocolPrompts(_authors_prompts(file) if file else {})


def _authors_prompts(file: Path) -> dict[str, str]:
    """The prompts in the authors' file."""
    then = f"take {_AUTHORS_FILE} of github.com/isXinLiu/MM-SafetyBench, or remove it: then restated prompts are used"
    texts = {name: value for name, value in assigned_in(file, then) if isinstance(value, str)}
    lacking = [name for name in _AUTHORS_NAMES.values() if "{prediction}" not in texts.get(name, "")]
    if lacking:
        raise ConfigError(f"the prompt {lacking[0]} is missing in this file", where=str(file), then=then)
    return {ours: texts[theirs] for ours, theirs in _AUTHORS_NAMES.items()}


@cache
def _shipped_text(name: str) -> str:
    if name == MD_JUDGE:
        return _as_align_anything_has_it(template(MD_JUDGE).strip())
    return files("spavl.evaluation.protocols").joinpath(f"prompts/{name}.txt").read_text(encoding="utf-8")


def _as_align_anything_has_it(text: str) -> str:
    """MD-Judge's prompt with the indentation that align-anything's code gives every line after the first."""
    first, *rest = text.splitlines()
    return "\n".join([first, *(f"    {line}" if line else "" for line in rest)])
