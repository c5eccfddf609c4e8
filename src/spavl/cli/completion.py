"""Generates scripts that complete commands, options and their values in a shell.

A script contains all that it offers. It does not call spavl while the user types.
"""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from spavl.cli.parser import Command

# The maximum length of a description in fish.
_WIDTH = 70


class OfferedOption(NamedTuple):
    """An option that completion offers."""

    name: str
    help: str
    takes_value: bool
    takes_several: bool
    values: tuple[str, ...]


class OfferedCommand(NamedTuple):
    """A command that completion offers."""

    name: str
    help: str
    options: tuple[OfferedOption, ...]
    # The values that are offered for its first argument, besides files.
    arguments: tuple[str, ...]


def offered_commands(commands: Sequence[Command]) -> list[OfferedCommand]:
    return [_offered_command(command) for command in commands]


def _offered_command(command: Command) -> OfferedCommand:
    parser = command.parser()
    own = [action for action in parser.visible_actions() if action.option_strings]
    options = tuple(
        OfferedOption(
            action.option_strings[-1],
            str(action.help or "").replace("%%", "%"),
            action.nargs != 0,
            action.nargs == "+",
            parser.completions.get(action.option_strings[-1], ()),
        )
        for action in own
    )
    arguments = (word for name, words in parser.completions.items() if not name.startswith("-") for word in words)
    return OfferedCommand(command.name, command.help, options, tuple(arguments))


def script(shell: str, commands: Sequence[OfferedCommand]) -> Iterator[str]:
    """The lines of a shell's script."""
    return SHELLS[shell](commands)


def _families(commands: Sequence[OfferedCommand]) -> dict[str, list[str]]:
    """The first words, each with the second words that may follow."""
    families: dict[str, list[str]] = {}
    for command in commands:
        first, _, second = command.name.partition(" ")
        families.setdefault(first, []).extend(filter(None, (second,)))
    return families


def _bash(commands: Sequence[OfferedCommand]) -> Iterator[str]:
    yield from (
        "# bash completion of spavl; made by: spavl completion bash",
        "_spavl() {",
        "  local current=${COMP_WORDS[COMP_CWORD]} position=$COMP_CWORD at=$COMP_CWORD",
        "  local command= offered= option= behind",
        '  local -a typed=("${COMP_WORDS[@]}")',
        *_FIND_OPTION,
        # Bash treats an equals sign as a separate word.
        "  if [[ ${typed[at+1]-} == = ]] && (( behind > 1 )); then (( behind-- )); fi",
        "  if [[ $current == = ]]; then current=; fi",
    )
    yield from _choose(commands)
    yield from (
        '  COMPREPLY=($(compgen -W "$offered" -- "$current"))',
        "}",
        # If nothing is offered, files are.
        "complete -o default -F _spavl spavl",
    )


def _zsh(commands: Sequence[OfferedCommand]) -> Iterator[str]:
    yield from (
        "#compdef spavl",
        "# zsh completion of spavl; made by: spavl completion zsh",
        "_spavl() {",
        "  local current=${words[CURRENT]} position=$(( CURRENT - 1 )) at=$(( CURRENT - 1 ))",
        "  local command= offered= option= behind",
        '  local -a typed=("${words[@]}")',
        # Counted from 0, as in bash.
        "  setopt localoptions ksharrays",
        *_FIND_OPTION,
    )
    yield from _choose(commands)
    yield from (
        "  unsetopt ksharrays",
        "  if [[ -n $offered ]]; then compadd -- ${=offered}; else _files; fi",
        "}",
        "compdef _spavl spavl",
    )


# In bash and zsh: the last option before the cursor, and how many words the cursor is behind it.
_FIND_OPTION = (
    "  while (( at > 1 )); do",
    "    (( at-- ))",
    "    if [[ ${typed[at]} == --* ]]; then option=${typed[at]}; break; fi",
    "  done",
    "  behind=$(( position - at ))",
    "  if [[ $current == -* ]]; then option=; fi",
)


def _choose(commands: Sequence[OfferedCommand]) -> Iterator[str]:
    """The part that bash and zsh share: from the words typed to what is offered."""
    families = _families(commands)
    yield "  case $position in"
    yield f"    1) offered='{' '.join(families)}' ;;"
    yield "    *)"
    yield "      case ${typed[1]} in"
    pairs = [name for name, seconds in families.items() if seconds]
    yield f'        {"|".join(pairs)}) command="${{typed[1]}} ${{typed[2]}}" ;;'
    yield "        *) command=${typed[1]} ;;"
    yield "      esac"
    yield "      case $position.${typed[1]} in"
    for name in pairs:
        yield f"        2.{name}) offered='{' '.join(families[name])}' ;;"
    yield "        *)"
    yield '          case "$command $option $behind" in'
    for command in commands:
        for option in command.options:
            if option.values:
                last = "*" if option.takes_several else "1"
                yield f"            '{command.name} {option.name} '{last}) offered='{' '.join(option.values)}' ;;"
    yield "            *)"
    yield "              case $command in"
    for command in commands:
        names = " ".join(option.name for option in command.options)
        yield f"                '{command.name}') [[ $current == -* ]] && offered='{names}'"
        if command.arguments:
            yield f"                  [[ $current == -* ]] || offered='{' '.join(command.arguments)}'"
        yield "                  ;;"
    yield from ("              esac ;;", "          esac ;;", "      esac ;;", "  esac")


def _fish(commands: Sequence[OfferedCommand]) -> Iterator[str]:
    yield from (
        "# fish completion of spavl; made by: spavl completion fish",
        "function __spavl_is",
        "    set -l typed (commandline -opc)",
        "    set -l last (math 1 + (count $argv))",
        '    test "$typed[2..$last]" = "$argv"',
        "end",
        "function __spavl_at",
        "    test (count (commandline -opc)) -eq $argv[1]",
        "end",
    )
    helps = {command.name: command.help for command in commands}
    for name, seconds in _families(commands).items():
        about = helps.get(name) or f"{name} {' | '.join(seconds)}"
        yield f"complete -c spavl -f -n '__spavl_at 1' -a {name} -d {_about(about)}"
        for second in seconds:
            when = f"'__spavl_is {name}; and __spavl_at 2'"
            yield f"complete -c spavl -f -n {when} -a {second} -d {_about(helps[f'{name} {second}'])}"
    for command in commands:
        when = f"'__spavl_is {command.name}'"
        if command.arguments:
            yield f"complete -c spavl -n {when} -a {_quote_for_fish(' '.join(command.arguments))}"
        for option in command.options:
            values = f" -x -a {_quote_for_fish(' '.join(option.values))}" if option.values else ""
            needs = values or (" -r" if option.takes_value else "")
            long = option.name.removeprefix("--")
            yield f"complete -c spavl -n {when} -l {long}{needs} -d {_about(option.help)}"


def _about(text: str) -> str:
    return _quote_for_fish(textwrap.shorten(text, _WIDTH, placeholder=" ..."))


def _quote_for_fish(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


SHELLS: dict[str, Callable[[Sequence[OfferedCommand]], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
