"""The `spavl` command. The code of a command is imported only if its family is typed.

To add a command: an entry in `COMMANDS` of its family's module in `commands/`, and its name in FAMILIES.
"""

import asyncio
import contextlib
import difflib
import importlib
import shlex
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from spavl import __version__
from spavl.cli.parser import Command, CommandParser
from spavl.cli.stopping import ended_as_by_hand
from spavl.errors import ConfigError, InternalError, SpavlError, StoreError
from spavl.text.nearest import nearest, suggestion
from spavl.text.safe_print import tell

_ABOUT = "Make vision-language models safe without making them useless, and prove it."


class Family(NamedTuple):
    """Commands that begin with the same word, such as `taxonomy show` and `taxonomy check`; or one command alone."""

    name: str
    # The file in commands/ that does the work.
    module: str
    help: str
    # The second words of its commands; none if it is one command.
    commands: tuple[str, ...] = ()

    def load(self) -> tuple[Command, ...]:
        commands: tuple[Command, ...] = importlib.import_module(f"spavl.cli.commands.{self.module}").COMMANDS
        return tuple(command for command in commands if command.name.split()[0] == self.name)


FAMILIES = (
    Family("demo", "build", "run the whole pipeline offline on the toy model, in minutes"),
    Family("build", "build", "run the pipeline on your own settings and models"),
    Family("new", "build", "write the settings of a build to start from"),
    Family("taxonomy", "taxonomy", "the harms that a data set is about", ("show", "check", "new")),
    Family("pool", "pool", "the models that answer the questions", ("show", "new")),
    Family("data", "data", "data sets made elsewhere, or for use elsewhere", ("import", "export", "push")),
    Family("train", "train", "train a model on a data set", ("dpo", "sft", "reward", "ppo", "merge")),
    Family("eval", "eval", "evaluate models on benchmarks; every rate has a confidence interval"),
    Family("compare", "compare", "compare two models evaluated on the same benchmarks, item by item"),
    Family("study", "study", "train and evaluate on parts of a data set: what made it safe?"),
    Family("miniature", "miniature", "build a toy model's checkpoint again from a seed"),
    Family("completion", "completion", "print a script that completes commands in a shell"),
)


def commands() -> Iterator[Command]:
    """Every command, with its code loaded."""
    for family in FAMILIES:
        yield from family.load()


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with ended_as_by_hand():
        return _exit_code(lambda: _do(given), given)


def _do(given: Sequence[str]) -> None:
    if given and given[0] == "help":
        given = [*given[1:], "--help"]
    if not given or given[0].startswith("-"):
        _list_families(given)
        return
    family = next((family for family in FAMILIES if family.name == given[0]), None)
    if family is None:
        raise _unknown(given)
    if not family.commands:
        (command,) = family.load()
        command.run(command.parser().read(given[1:]))
    elif len(given) == 1 or given[1].startswith("-") or given[1] == "help":
        _list_family(family, [each for each in given[1:] if each != "help"])
    elif given[1] not in family.commands:
        then = suggestion(given[1], family.commands, "known", f"spavl {family.name} {{}}")
        raise ConfigError(f"unknown command: {family.name} {given[1]}", where="spavl", then=then)
    else:
        command = next(each for each in family.load() if each.name == " ".join(given[:2]))
        command.run(command.parser().read(given[2:]))


def _unknown(given: Sequence[str]) -> ConfigError:
    what = f"unknown command: {given[0]}"
    names = [family.name for family in FAMILIES]
    pairs = [f"{family.name} {second}" for family in FAMILIES for second in family.commands]
    # Users often type only the second word, or longer names such as `evaluate`.
    meant = [pair for pair in pairs if pair.split()[1] == given[0]]
    meant = meant or nearest(given[0], names) or nearest(given[0].replace("-", " "), pairs)
    meant = meant or difflib.get_close_matches(given[0], names, n=1)
    then = f"did you mean {' or '.join(f'spavl {name}' for name in meant)}?" if meant else f"known: {', '.join(names)}"
    return ConfigError(what, where="spavl", then=then)


def _list_families(given: Sequence[str]) -> None:
    width = max(len(family.name) for family in FAMILIES) + 2
    lines = []
    for family in FAMILIES:
        lines.append(f"  {family.name:<{width}}{family.help}")
        if family.commands:
            lines.append(f"  {'':<{width}}{family.name} {' | '.join(family.commands)}")
    after = "spavl COMMAND --help lists a command's options. Begin with: spavl demo"
    parser = CommandParser("", _ABOUT, epilog="\n".join(["commands:", *lines, "", after]), tail="COMMAND [options]")
    parser.add_argument("--version", action="version", version=f"spavl {__version__}")
    parser.read(given)
    parser.print_help()


def _list_family(family: Family, given: Sequence[str]) -> None:
    listed = family.load()
    width = max(len(command.name) for command in listed) + 2
    lines = [f"  {command.name:<{width}}{command.help}" for command in listed]
    after = f"spavl {family.name} COMMAND --help lists a command's options."
    epilog = "\n".join(["commands:", *lines, "", after])
    parser = CommandParser(family.name, family.help, epilog=epilog, tail="COMMAND [options]")
    parser.read(given)
    parser.print_help()


def _exit_code(work: Callable[[], None], given: Sequence[str]) -> int:
    """Run a command and return its exit code; every failure prints one clear message."""
    again = shlex.join(["spavl", *given])
    try:
        work()
    except SpavlError as error:
        _complain(error)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        tell("", "spavl: stopped. What is finished is kept; go on with:", f"  {again}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except sqlite3.DatabaseError as error:
        then = "restore it from a copy, or delete it and type the same command: what it held is made again"
        _complain(StoreError(f"a database of the run is damaged: {error}", then=then))
        return 2
    except Exception as error:
        if "No space left on device" in str(error):
            _complain(StoreError("the disk is full", then=f"free some space, then type again: {again}"))
            return 2
        # Indented, so that a line of the traceback cannot look like one of spavl's own.
        tell(*(f"  {each}" for each in traceback.format_exc().splitlines()), file=sys.stderr)
        _complain(InternalError(f"a fault of spavl, not yours: {error!r}", then="report the lines above"))
        return 1
    return 0


def _complain(error: SpavlError) -> None:
    """Print an error. Only `then` may have several lines; content from outside cannot start a line of its own."""
    first, *rest = error.then.splitlines() or [""]
    where = (f"  where: {error.where}",) if error.where else ()
    then = (f"  next:  {first}", *(f"         {each.strip()}" for each in rest)) if error.then else ()
    tell(f"spavl: {error.what}", *where, *then, file=sys.stderr)
