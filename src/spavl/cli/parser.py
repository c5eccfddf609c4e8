"""Parses command lines with argparse, with errors in spavl's format and short names for long options.

In option names, dashes and underscores are equal: `--max-tokens` is `--max_tokens`, `--selection.per-leaf` is
`--selection.per_leaf`.
"""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from spavl.errors import ConfigError
from spavl.text.nearest import nearest

_OF_AN_OPTION = re.compile(r"argument (\S+): (.*)", re.DOTALL)
_MISSING = "the following arguments are required: "
_TOO_MANY = "unrecognized arguments: "
# Short names in other trainers, and the option's name here.
_ELSEWHERE: Mapping[str, str] = MappingProxyType({"lr": "learning-rate", "bs": "batch-size", "wd": "weight-decay"})


class CommandParser(argparse.ArgumentParser):
    """Parses the arguments that follow the name of a command."""

    def __init__(self, name: str, description: str, takes: str = "", epilog: str = "", tail: str = "[options]") -> None:
        prog = f"spavl {name}".strip()
        super().__init__(
            prog=prog,
            usage=" ".join(filter(None, (prog, takes, tail))),
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # Aliases of options, each with the options that it may mean.
        self._aliases: dict[str, list[str]] = {}
        # The values that shell completion offers for an option or an argument.
        self.completions: dict[str, tuple[str, ...]] = {}
        # Options that this command does not have, each with the command that has it.
        self.of_others: dict[str, str] = {}
        # The options that may be given an empty value, by their names in the namespace.
        self.may_be_empty: set[str] = set()
        self._given: dict[str, list[str]] = {}

    def alias(self, name: str, option: str) -> None:
        """Add an alias of an option. Two options may share an alias; typing it is then an error that names both."""
        self._aliases.setdefault(name, []).append(option)

    def visible_actions(self) -> list[argparse.Action]:
        """The arguments and options that its help shows."""
        return [action for action in self._actions if action.help != argparse.SUPPRESS]

    def has_option(self, name: str) -> bool:
        return name in self._option_string_actions

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        self._given.clear()
        return self.parse_args(list(self._spelled_out(arguments)))

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """The values of an argument or option, from what was typed: before `Path` makes the working directory of ""."""
        name = action.option_strings[0] if action.option_strings else str(action.metavar or action.dest)
        if action.dest not in self.may_be_empty and not all(text.strip() for text in arg_strings):
            then = "give it a value; in a script, check that the variable behind it is set"
            raise ConfigError(f"{name} is empty", where=self.prog, then=then)
        before = self._given.setdefault(action.dest, arg_strings) if action.option_strings else arg_strings
        if before != arg_strings:
            what = f"{name} is given twice: as {' '.join(before)!r} and as {' '.join(arg_strings)!r}"
            raise ConfigError(what, where=self.prog, then="keep one of them")
        return super()._get_values(action, arg_strings)

    def _spelled_out(self, arguments: Sequence[str]) -> Iterator[str]:
        """The arguments, with every alias replaced by the name of its option."""
        for place, argument in enumerate(arguments):
            if argument == "--":
                yield from arguments[place:]
                return
            name, equals, value = argument.partition("=")
            # A negative number is a value, and so is anything that contains a blank.
            is_option = name.startswith("-") and len(name) > 1 and not re.match(r"-[\d.]|.*\s", name, re.DOTALL)
            yield self._option(name) + equals + value if is_option else argument

    def _option(self, typed: str) -> str:
        plain = typed.replace("_", "-")
        if self.has_option(plain):
            return plain
        meant = self._aliases.get(plain, [])
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise ConfigError(
                f"{typed} is a name of {len(meant)} settings", where=self.prog, then=f"type {' or '.join(meant)}"
            )
        if other := self.of_others.get(plain):
            raise ConfigError(f"unknown option: {typed}", where=self.prog, then=f"it is an option of {other}")
        wanted = _ELSEWHERE.get(plain.lstrip("-"), plain.lstrip("-"))
        near = nearest(wanted, (name.removeprefix("--") for name in self._known_options()))
        options = dict.fromkeys(own for name in near for own in self._aliases.get(f"--{name}", [f"--{name}"]))
        then = f"did you mean {' or '.join(options)}?" if options else f"see all options with: {self.prog} --help"
        raise ConfigError(f"unknown option: {typed}", where=self.prog, then=then)

    def _known_options(self) -> list[str]:
        return [*(name for name in self._option_string_actions if name.startswith("--")), *self._aliases]

    def error(self, message: str) -> NoReturn:
        """Raise argparse's errors as ConfigError: typed text, such as a file name, is then printed safely."""
        usage = (self.usage or self.prog).replace("%%", "%")
        then = f"type it as: {usage}\n{self.prog} --help lists the options"
        if found := _OF_AN_OPTION.fullmatch(message):
            raise ConfigError(f"{found[1]}: {found[2]}", where=self.prog, then=then)
        if message.startswith(_MISSING):
            names = message.removeprefix(_MISSING).split(", ")
            lacking = "is missing" if len(names) == 1 else "are missing"
            raise ConfigError(f"{' and '.join(names)} {lacking}", where=self.prog, then=then)
        if message.startswith(_TOO_MANY):
            what = f"nothing is expected here: {message.removeprefix(_TOO_MANY)}"
            raise ConfigError(what, where=self.prog, then=then)
        raise ConfigError(message, where=self.prog, then=then)


class Command(NamedTuple):
    """A command, such as `build` or `taxonomy show`."""

    name: str
    help: str
    add_options: Callable[[CommandParser], None]
    run: Callable[[argparse.Namespace], None]
    # The required arguments, for its usage line.
    takes: str = ""
    # The text at the end of its help.
    epilog: str = ""

    def parser(self) -> CommandParser:
        parser = CommandParser(self.name, self.help, self.takes, self.epilog)
        self.add_options(parser)
        return parser
