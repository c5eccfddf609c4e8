"""Parses command lines with argparse, with errors in spavl's format and short names for long options.

In option names, dashes and underscores are equal: `--max-tokens` is `--max_tokens`, `--selection.per-leaf` is
`--selection.per_leaf`.
"""

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, NoReturn

from spavl.errors import ConfigError
from spavl.text.nearest import nearest

_OF_AN_OPTION = re.compile(r"argument (\S+): (.*)", re.DOTALL)
_MISSING = "the following arguments are required: "
_TOO_MANY = "unrecognized arguments: "


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

    def alias(self, name: str, option: str) -> None:
        """Add an alias of an option. Two options may share an alias; typing it is then an error that names both."""
        self._aliases.setdefault(name, []).append(option)

    def visible_actions(self) -> list[argparse.Action]:
        """The arguments and options that its help shows."""
        return [action for action in self._actions if action.help != argparse.SUPPRESS]

    def has_option(self, name: str) -> bool:
        return name in self._option_string_actions

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        return self.parse_args(list(self._spelled_out(arguments)))

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
        near = nearest(plain.lstrip("-"), (name.removeprefix("--") for name in self._known_options()))
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
