"""The commands that README and CONTRIBUTING show exist, and CI runs what a person is told to run.

The first thing a newcomer types must work; so it is checked against the Makefile, the
commands and CI's own script.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gates.fault import Fault
from gates.source import imported

_PAGES = ("README.md", "CONTRIBUTING.md")
_HEADING = "## Two commands"
_PROMISED = ("make demo", "make test")
_RUN_BY_CI = ("make check", "make test")

_TARGET = re.compile(r"^([A-Za-z][\w-]*)(?: +[A-Za-z][\w-]*)* *:(?!=)", re.M)
_SPAN = re.compile(r"`([^`]+)`")
# A command stands at the beginning of a line or behind another one; settings may stand before it.
_COMMAND = re.compile(r"(?:^|&&|\|\||;|\|)\s*(?:\$ )?(?:\w+=\S+ +)*(?:[\w./-]*/)?(make|spavl)((?: +[^\s;|&]+)*)")


class Shown(NamedTuple):
    """A command on a page."""

    where: str
    program: str
    words: list[str]


def check(root: Path) -> list[Fault]:
    makefile, ci = _read(root, "Makefile"), _read(root, ".ci/run")
    targets = {name for line in _TARGET.finditer(makefile) for name in line.group().rstrip(": ").split()}
    commands = [command.name for command in imported(root, "spavl.cli.main").commands()]
    shown = [command for page in _PAGES for command in _commands(page, _read(root, page))]
    return [
        *_unknown_targets(shown, targets),
        *_unknown_commands(shown, commands),
        *_unkept_promises(_read(root, "README.md")),
        *_missing_in_ci(ci, targets),
    ]


def _read(root: Path, path: str) -> str:
    file = root / path
    return file.read_text() if file.exists() else ""


def _commands(page: str, text: str) -> Iterator[Shown]:
    """The commands of a page's code, in fenced blocks and in backticks."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        for code in [line.partition("#")[0]] if fenced else _SPAN.findall(line):
            for found in _COMMAND.finditer(code):
                yield Shown(f"{page}:{number}", found[1], found[2].split())


def _unknown_targets(shown: list[Shown], targets: set[str]) -> Iterator[Fault]:
    for command in shown:
        if command.program == "make":
            # Neither an option (-j2) nor a setting (SEED=7) is a target.
            for word in command.words:
                if re.fullmatch(r"[a-z][\w-]*", word) and word not in targets:
                    what = f"`make {word}` is shown, and the Makefile has no such target"
                    yield Fault(command.where, what, f"correct it; the targets are {', '.join(sorted(targets))}")


def _unknown_commands(shown: list[Shown], commands: list[str]) -> Iterator[Fault]:
    for line in shown:
        if line.program == "spavl" and line.words:
            named = [" ".join(line.words[:1]), " ".join(line.words[:2])]
            command = named[any(known.startswith(f"{named[0]} ") for known in commands)]
            if re.fullmatch(r"[a-z][\w -]*", command) and command not in commands:
                what = f"`spavl {command}` is shown, and there is no such command"
                yield Fault(line.where, what, f"correct it; the commands are {', '.join(commands)}")


def _unkept_promises(readme: str) -> Iterator[Fault]:
    lines = readme.splitlines()
    if _HEADING not in lines:
        yield Fault("README.md:1", f'the heading "{_HEADING}" is missing', "put it before the first sh block")
        return
    start = lines.index(_HEADING)
    opened = next((k for k, line in enumerate(lines) if k > start and line.startswith("```sh")), None)
    if opened is None:
        yield Fault(f"README.md:{start + 1}", "no sh block follows the heading", "put one there with the two commands")
        return
    block = [line.partition("#")[0].strip() for line in "\n".join(lines[opened + 1 :]).split("```")[0].splitlines()]
    for promised in _PROMISED:
        if not any(line == promised or line.startswith(f"{promised} ") for line in block):
            yield Fault(f"README.md:{opened + 1}", f"the block does not show `{promised}`", f"put `{promised}` into it")


def _missing_in_ci(ci: str, targets: set[str]) -> Iterator[Fault]:
    lines = [line.strip() for line in ci.splitlines()]
    for command in _RUN_BY_CI:
        if command not in lines:
            yield Fault(".ci/run:1", f"CI does not run `{command}`", f"put the line `{command}` into .ci/run")
    for number, line in enumerate(lines, 1):
        if line.startswith("make ") and line.split()[1] not in targets:
            yield Fault(f".ci/run:{number}", f"the Makefile has no target for `{line}`", "correct the line")
