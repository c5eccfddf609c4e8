"""The project uses the field's words: one concept, one name, in code and docs.

Private words for common things (an exam for an evaluation, a road for a pipeline) cost every reader a lookup.
A word counts wherever it is a part of a name, too: `HeedRate`, `heed_rate`, `heeded`.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gates.fault import Fault

# The word, with the endings that it takes, and what to say instead.
WORDS: dict[str, str] = {
    r"pictur(?:e|es|ed|ing)": "image",
    r"photos?": "image (or photograph)",
    r"exams?": "evaluation",
    r"sat": "was evaluated on",
    r"bouts?|duels?": "pairwise comparison",
    r"remits?": "judge assignment",
    r"heed(?:s|ed|ing)?": "refusal verdict (or: respect, read)",
    r"roads?": "pipeline",
    r"shop|shops": "factory",
    r"shelf|shelves": "registry",
    r"forecasts?|foresights?|foretells?|foretold|foresee|foresees|foreseen|outlooks?": "cost estimate, or dry run",
    r"rehears(?:e|es|ed|al|als|ing)": "dry run",
    r"leanings?": "image dependence",
    r"dice": "random numbers (RNG)",
    r"scribes?": "question writer",
    r"specimens?": "example",
    r"standfirst": "summary sentence",
    r"anew": "again",
    r"learnt": "learned, or trained on",
}
# Phrases that a reader of pages and reports stumbles over, and what to say instead.
PHRASES: dict[str, str] = {
    "hang together": "are not independent",
    "whoever": "the users who, or those who",
    "nobody": "no person, or no user",
    "somebody": "a user, or a person",
}
_FORBIDDEN = {re.compile(pattern): instead for pattern, instead in WORDS.items()}
# Words as they stand in names, too: of CamelCase, snake_case and SCREAMING_CASE.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_READ = ("src", "docs", "benchmarks", "gates", "reality", "README.md", "CONTRIBUTING.md")
_PAGES = (".md", ".html")
_SUFFIXES = (".py", ".md", ".html", ".css", ".toml", ".txt")


class Exempt(NamedTuple):
    """Lines that may hold a word: of files that match `path`, those in which `line` is found."""

    path: str
    line: str
    why: str


_PROMPT = "text sent to models is part of ledger keys"
_OTHERS = "names and words of others: answers that people and models write, columns and terms that they chose"
_KEYS = "keys of files that earlier versions wrote, and values that ids are hashed from"
EXEMPT = (
    Exempt("gates/words.py", "", "this list"),
    Exempt("src/spavl/*/prompts/*", "", _PROMPT),
    Exempt("src/spavl/judges/canaries/canaries.toml", "", _PROMPT),
    Exempt("src/spavl/data/questions/checking.py", "_MODALITIES|_FORM", _PROMPT),
    Exempt("src/spavl/miniature/grammar.py", "picture [.]", _PROMPT),
    Exempt("src/spavl/miniature/lessons.py", "picture [.]", _PROMPT),
    Exempt("src/spavl/judges/guards/published.py", "self.name = ", "the name of a guard, stored with its verdicts"),
    Exempt("src/spavl/evaluation/answer_matching/*", r"\br\"", _OTHERS),
    Exempt("src/spavl/data/taxonomy/*.toml", "", _OTHERS),
    Exempt("src/spavl/text/personal_data/top_level_domains.py", r"\b(?:photos?|pictures|shop)\b", _OTHERS),
    Exempt("src/spavl/data/dataset/lineage.py", 'SourceRecord."photo"', "a column of the rich data set"),
    Exempt("src/spavl/pipeline/report/*", '"pictures"', _KEYS),
    Exempt("benchmarks/dpo_work/shapes.py", "PICTURE", "a placeholder in a chat template"),
)


def check(root: Path) -> list[Fault]:
    used = set[Exempt]()
    faults = [fault for file in _files(root) for fault in _faults(root, file, used)]
    for exempt in EXEMPT:
        if exempt not in used:
            what = f"the exception for {exempt.path} ({exempt.line or 'all of it'}) is not needed"
            faults.append(Fault("gates/words.py:1", what, "delete it from EXEMPT"))
    return faults


def _files(root: Path) -> Iterator[Path]:
    for name in _READ:
        for path in sorted((root / name).rglob("*")) if (root / name).is_dir() else [root / name]:
            if path.suffix in _SUFFIXES and path.is_file() and ".egg-info" not in path.parent.name:
                yield path


def _faults(root: Path, file: Path, used: set[Exempt]) -> Iterator[Fault]:
    path = file.relative_to(root).as_posix()
    exempt = [each for each in EXEMPT if fnmatch(path, each.path)]
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if file.suffix in _PAGES:
            for phrase in (phrase for phrase in PHRASES if re.search(rf"\b{phrase}\b", line, re.IGNORECASE)):
                yield Fault(f"{path}:{number}", f"{phrase!r} is not literal", f"say {PHRASES[phrase]}")
        for word in dict.fromkeys(_WORD.findall(line)):
            if (instead := _instead(word.lower())) is None:
                continue
            allowed = next((each for each in exempt if re.search(each.line, line)), None)
            if allowed is None:
                yield Fault(f"{path}:{number}", f"{word!r} is not the field's word", f"say {instead}")
            else:
                used.add(allowed)


@cache
def _instead(word: str) -> str | None:
    return next((instead for pattern, instead in _FORBIDDEN.items() if pattern.fullmatch(word)), None)
