"""One name for one class, few modules at the package's root, and no crowded folder.

A reader who looks for a class finds one definition; a reader who opens a folder sees on
one page what is in it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from gates.fault import Fault
from gates.source import Module, modules

PACKAGE = "src/spavl"
ROOT_MODULES = ("__init__", "__main__", "records", "errors", "config")
FOLDER_MODULES = 16

# Folders that may hold more modules, and why.
EXCEPTIONS: dict[str, str] = {}


def check(root: Path) -> list[Fault]:
    sources = list(modules(root))
    return [*_repeated_classes(sources), *_root_modules(sources), *_crowded_folders(sources)]


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
