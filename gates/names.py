"""One name for one class, no name that is a bare participle, few modules at the package's root, no crowded folder.

A reader who looks for a class finds one definition, and its name says what it is: `told` and `Refused` do not say who
was told, or what was refused. A reader who opens a folder sees on one page what is in it.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from gates.fault import Fault
from gates.source import Module, modules

PACKAGE = "src/spavl"
ROOT_MODULES = ("__init__", "__main__", "records", "errors", "config")
FOLDER_MODULES = 16

# Past participles without -ed; and words with -ed that are none, or are the field's own term.
_IRREGULAR = re.compile(
    "told|shown|found|met|held|made|sent|said|kept|taken|given|known|seen|drawn|written|hidden|broken|begun|spoken|"
    "spent|paid|left|lost|built|bound|caught|chosen|done|grown|laid|meant|won|understood|thought|sold"
)
_NO_PARTICIPLES = frozenset(("seed", "feed", "need", "speed", "embed"))
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

# Folders that may hold more modules, and why.
EXCEPTIONS: dict[str, str] = {}


def check(root: Path) -> list[Fault]:
    sources = list(modules(root))
    return [
        *_repeated_classes(sources),
        *_bare_participles(sources),
        *_root_modules(sources),
        *_crowded_folders(sources),
    ]


def _repeated_classes(sources: list[Module]) -> Iterator[Fault]:
    """Every definition after the first, classes inside classes and functions included."""
    first: dict[str, str] = {}
    for module in sources:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ClassDef):
                continue
            where = f"{module.path}:{node.lineno}"
            if node.name in first:
                what = f"the class {node.name} is defined at {first[node.name]} too"
                yield Fault(where, what, "name it after what sets it apart, or use the other one")
            else:
                first[node.name] = where


def _bare_participles(sources: list[Module]) -> Iterator[Fault]:
    for module in sources:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _is_participle(node.name):
                what = f"{node.name} is a bare participle: it does not say of what"
                yield Fault(f"{module.path}:{node.lineno}", what, "name what it is or does: a noun, or a verb")


def _is_participle(name: str) -> bool:
    words = _WORD.findall(name)
    if len(words) != 1:
        return False
    word = words[0].lower()
    return bool(_IRREGULAR.fullmatch(word)) or (word.endswith("ed") and word not in _NO_PARTICIPLES)


def _root_modules(sources: list[Module]) -> Iterator[Fault]:
    for module in sources:
        path = Path(module.path)
        if path.parent.as_posix() == PACKAGE and path.stem not in ROOT_MODULES:
            what = f"{path.name} lies at the package's root, where only {', '.join(ROOT_MODULES)} may"
            yield Fault(f"{module.path}:1", what, "move it into the folder that uses it")


def _crowded_folders(sources: list[Module]) -> Iterator[Fault]:
    folders: dict[str, int] = defaultdict(int)
    for module in sources:
        path = Path(module.path)
        folders[path.parent.as_posix()] += path.stem != "__init__"
    crowded = {folder: count for folder, count in folders.items() if count > FOLDER_MODULES}
    for folder in sorted(crowded.keys() - EXCEPTIONS.keys()):
        what = f"the folder holds {crowded[folder]} modules, at most {FOLDER_MODULES} are allowed"
        then = "put what belongs together into a folder of its own; exceptions are listed in gates/names.py"
        yield Fault(f"{folder}:1", what, then)
    for folder in sorted(EXCEPTIONS.keys() - crowded.keys()):
        yield Fault("gates/names.py:1", f"the exception for {folder} is not needed", "delete it from EXCEPTIONS")
