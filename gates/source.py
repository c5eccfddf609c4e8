"""Gives gates the package under a root: as syntax for most, imported for those that need its tables."""

import ast
import importlib
import sys
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gates.fault import Stopped


class Module(NamedTuple):
    """One file of src; `path` is relative to the root, with forward slashes."""

    path: str
    text: str
    tree: ast.Module


def modules(root: Path) -> Iterator[Module]:
    for file in sorted((root / "src").rglob("*.py")):
        text = file.read_text()
        path = file.relative_to(root).as_posix()
        yield Module(path, text, _parsed(text, path))


@cache
def _parsed(text: str, path: str) -> ast.Module:
    """One tree for all gates: none changes it."""
    return ast.parse(text, path)


def imported(root: Path, name: str) -> Any:
    """A module of this root's src, even where another copy of the package is installed."""
    source = str(root / "src")
    if source not in sys.path:
        sys.path.insert(0, source)
    try:
        return importlib.import_module(name)
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(source)]
        file, line = (Path(frames[-1].filename), frames[-1].lineno) if frames else (root / "src", 1)
        what = f"{name} cannot be imported: {error!r}"
        raise Stopped(f"{file.relative_to(root).as_posix()}:{line}", what, f'python -c "import {name}"') from error
