"""No text file tells where its writer works, or leaves a note that something is still to be done.

A path of one machine is wrong on every other; a note to self belongs into an issue, where
it can be closed.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from gates.fault import Fault

# Spelled with brackets, so that this file does not find itself.
_HOME = re.compile(r"(?<![\w.])/(?:home|root|Users)/|\b[A-Z]:\\Users\b")
_NOTE = re.compile(r"\b(?:T[O]DO|F[I]XME)\b")


def check(root: Path) -> list[Fault]:
    faults = []
    for file in _files(root, _ignored(root)):
        for number, line in enumerate(_text(file).splitlines(), 1):
            where = f"{file.relative_to(root).as_posix()}:{number}"
            if found := _HOME.search(line):
                what = f"a path of one machine: {found.group()}"
                faults.append(Fault(where, what, "write a path relative to the repository, or take it from an option"))
            if found := _NOTE.search(line):
                faults.append(Fault(where, f"a note to self: {found.group()}", "do it, or open an issue and delete it"))
    return faults


def _ignored(root: Path) -> list[str]:
    """What git does not commit. The patterns of .gitignore are names here, with or without a slash at the end."""
    listed = root / ".gitignore"
    lines = listed.read_text().splitlines() if listed.exists() else []
    return [".git", *(line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#"))]


def _files(folder: Path, ignored: list[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or any(fnmatch(path.name, pattern) for pattern in ignored):
            continue
        if path.is_dir():
            yield from _files(path, ignored)
        else:
            yield path


def _text(file: Path) -> str:
    """The file as text, and nothing for images and weights."""
    data = file.read_bytes()
    return "" if b"\0" in data else data.decode(errors="replace")
