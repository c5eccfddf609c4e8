"""spavl completion: a script that completes commands and options in a shell."""

import argparse

from spavl.cli.completion import SHELLS, offered_commands, script
from spavl.cli.main import commands
from spavl.cli.options import one_of
from spavl.cli.parser import Command, CommandParser
from spavl.text.safe_print import tell

_HOW = """to have it in every shell:
  bash  spavl completion bash > ~/.local/share/bash-completion/completions/spavl
  zsh   spavl completion zsh > FOLDER/_spavl, where FOLDER is in $fpath
  fish  spavl completion fish > ~/.config/fish/completions/spavl.fish"""


def _add_options(parser: CommandParser) -> None:
    names = tuple(SHELLS)
    parser.add_argument("shell", type=one_of(names, "SHELL"), metavar="SHELL", help=f"one of: {', '.join(names)}")
    parser.completions["shell"] = names


def _run(options: argparse.Namespace) -> None:
    tell(*script(options.shell, offered_commands(list(commands()))))


COMMANDS = (
    Command("completion", "print a script that completes commands in a shell", _add_options, _run, "SHELL", _HOW),
)
