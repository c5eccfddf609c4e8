"""Options of the command line. This is the only place that makes them from the settings classes."""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from spavl.cli.parser import CommandParser
from spavl.config import LARGEST, Option, options
from spavl.errors import ConfigError
from spavl.text.nearest import same_name, suggestion

# Choices that are not longer are shown in place of the option's value.
_SHORT = 40
_SECTIONS = "the same names as in the TOML file, values as in TOML"


def add_settings(
    parser: CommandParser,
    settings: Iterable[Option],
    descriptions: Mapping[str, str],
    prefixes: Sequence[str] = (),
    own: str = "",
    is_listed: bool = True,
) -> None:
    """Add an option for each of these settings to a command; those that the user types are in `options.settings`.

    A setting in a section of `prefixes` may be typed without it, as `--beta` for `training.dpo.beta`. Help lists it by
    the shortest name that no other option has; a short name that two settings share means the one in the section `own`,
    the command's own subject. Lists take more than one value. With `is_listed=False` the options work but are not in
    the help.
    """
    parser.set_defaults(settings={})
    named = [
        (option, [name for name in names_of(option, prefixes) if not parser.has_option(name)]) for option in settings
    ]
    if own:
        in_own = {name for option, names in named if option.name.startswith(f"{own}.") for name in names}
        named = [
            (option, [name for name in names if option.name.startswith(f"{own}.") or name not in in_own])
            for option, names in named
        ]
    uses = Counter(name for _, names in named for name in names)
    groups: dict[str, argparse._ActionsContainer] = {}
    for option, names in named:
        section = option.name.rpartition(".")[0]
        if section not in groups:
            title, text = (f"[{section}]", descriptions.get(section, "")) if section else ("settings", _SECTIONS)
            groups[section] = parser.add_argument_group(title, text) if is_listed else parser
        shortest = next(name for name in names if uses[name] == 1)
        groups[section].add_argument(
            shortest,
            dest=option.name,
            action=_Setting,
            metavar=_metavar(option),
            nargs="+" if option.is_list else None,
            default=argparse.SUPPRESS,
            help=_help(option) if is_listed else argparse.SUPPRESS,
        )
        parser.completions[shortest] = option.choices
        # Whether a setting may be empty is checked where it is read.
        parser.may_be_empty.add(option.name)
        for name in names:
            if name != shortest:
                parser.alias(name, shortest)


class _Setting(argparse.Action):
    """Stores the typed text of a setting under its name in the file; several values are joined with commas."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, option_string: object = None
    ) -> None:
        text = ",".join(values) if isinstance(values, list) else values
        namespace.settings = {**namespace.settings, self.dest: text}


def names_of(option: Option, prefixes: Sequence[str]) -> list[str]:
    """The option names of a setting, shortest first."""
    cut = [option.name.removeprefix(f"{prefix}.") for prefix in prefixes if option.name.startswith(f"{prefix}.")]
    return [f"--{name.replace('_', '-')}" for name in sorted({option.name, *cut}, key=len)]


def _metavar(option: Option) -> str:
    shown = "|".join(option.choices)
    return shown if shown and len(shown) <= _SHORT else "VALUE"


def _help(option: Option) -> str:
    text = option.help if option.default is None else f"{option.help} (default: {option.default_text})"
    return text.replace("%", "%%")


def settings_of(kind: type[BaseModel], without: Collection[str] = ()) -> Iterator[Option]:
    """The settings of a class, except the settings and whole sections that are named in `without`."""
    for option in options(kind):
        if not any(option.name == name or option.name.startswith(f"{name}.") for name in without):
            yield option


def add_choice(
    parser: CommandParser, option: str, names: Sequence[str], metavar: str, text: str, *, is_needed: bool = False
) -> None:
    """Add an option that takes one of these names."""
    listed = f"{text}: {', '.join(names)}" if names else text
    parser.add_argument(option, type=one_of(names, option), metavar=metavar, help=listed, required=is_needed)
    parser.completions[option] = tuple(names)


def one_of(names: Collection[str], where: str) -> Callable[[str], str]:
    def check_choice(text: str) -> str:
        name = same_name(text, names)
        if name is None:
            raise ConfigError(f"{text!r} is not known here", where=where, then=suggestion(text, names))
        return name

    return check_choice


def seed(text: str) -> int:
    """Parse a seed."""
    if not re.fullmatch(r"\d+", text.strip()) or int(text) > LARGEST:
        then = f"give a whole number from 0 to {LARGEST}"
        raise ConfigError(f"{text!r} is no seed", where="--seed", then=then)
    return int(text)


def add_preset(parser: CommandParser, names: Sequence[str], default: str = "") -> None:
    begun = f" (default: {default})" if default else ""
    add_choice(parser, "--preset", names, "NAME", f"settings of a published training to begin with{begun}")


def add_out(parser: CommandParser, metavar: str, text: str, *, is_needed: bool = False) -> None:
    parser.add_argument("--out", type=Path, metavar=metavar, help=text, required=is_needed)


def add_dry_run(parser: CommandParser, text: str) -> None:
    parser.add_argument("--dry-run", action="store_true", help=text)


def add_budget(parser: CommandParser) -> None:
    parser.add_argument("--budget", metavar="50usd", type=usd, help="hard limit of what all calls together may cost")


def usd(text: str) -> str:
    """Parse an amount of US dollars: 50usd, 50 USD, $50 or 50."""
    found = re.fullmatch(r"\$?\s*(\d+(?:\.\d+)?)\s*(?:usd|\$)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ConfigError(f"{text!r} is no sum in US dollars", where="--budget", then="write it as 50usd or 12.50usd")
    return found[1]
