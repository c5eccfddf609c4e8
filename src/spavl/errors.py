"""The errors a user can get. Each says what was wrong, where, and what to type next.

Exit code 2: the user can fix the cause (a key, a file, a server, a disk).
Exit code 1: a bug in spavl.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path


class SpavlError(Exception):
    """An error with a message meant for people."""

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", then: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.then = what, where, then

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.then:
            lines.append(f"  next:  {self.then}")
        return "\n".join(lines)


class ConfigError(SpavlError):
    """A setting is unknown, missing or of the wrong type."""


class StoreError(SpavlError):
    """A run folder cannot be read or written."""


class RunInUse(StoreError):
    """Another process is at work in a run."""


class MissingExtra(SpavlError):
    """A feature needs packages that are not installed."""


def how_to_install(extra: str) -> str:
    """The pip command that installs an extra for the running Python, from the clone or by package names."""
    pip = f"{_path_from_here(sys.executable)} -m pip install"
    clone = Path(__file__).parents[2]
    if (clone / "pyproject.toml").is_file() and (clone / "constraints.txt").is_file():
        return f'{pip} -c {_path_from_here(clone / "constraints.txt")} -e "{_path_from_here(clone)}[{extra}]"'
    return f"{pip} {' '.join(map(shlex.quote, _packages_of(extra)))}"


def _packages_of(extra: str) -> Iterator[str]:
    """The requirements of an extra. Installing them by name works even if spavl is on no package index."""
    from importlib.metadata import requires  # takes longer to load than the rest of this file

    for requirement in requires("spavl") or ():
        package, _, when = requirement.partition(";")
        if re.search(rf"extra\s*==\s*['\"]{extra}['\"]", when):
            other = re.fullmatch(r"spavl\[(\w+)\]", package.strip())
            yield from _packages_of(other[1]) if other else [package.strip()]


def _path_from_here(path: str | Path) -> str:
    """A path relative to the working directory if it is inside it, else unchanged."""
    here = Path.cwd()
    return (str(Path(path).relative_to(here)) or ".") if Path(path).is_relative_to(here) else str(path)


class BudgetError(SpavlError):
    """The next call could exceed the budget, so it was not sent."""


class ProviderError(SpavlError):
    """A model's server is unreachable or is not the expected kind of server; no call to it can succeed."""


class TrainingError(SpavlError):
    """Training was refused or stopped because its numbers cannot be trusted."""


class GateError(SpavlError):
    """A result must not be reported, for example because too many verdicts could not be parsed."""


class InternalError(SpavlError):
    """A bug in spavl: a state that should be impossible."""

    exit_code = 1
