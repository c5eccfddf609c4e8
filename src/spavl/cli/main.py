"""The one command. A verb's code is loaded when the verb is typed, and its options come from the config classes.

To add a verb: a line in VERBS, and a file in `verbs/` named as the verb (`taxonomy show` is
`verbs/taxonomy_show.py`) with `add_options(parser)` and `run(options)`.
"""

import argparse
import asyncio
import contextlib
import importlib
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from spavl import __version__
from spavl.cli.stopping import ended_as_by_hand
from spavl.errors import InternalError, SpavlError, StoreError
from spavl.text.safe_print import line, tell


class Command(NamedTuple):
    """A verb of one word, or of two where several belong together: `taxonomy show`, `taxonomy check`."""

    name: str
    help: str
    # What must stand after the verb, for its usage line.
    takes: str = ""


VERBS = (
    Command("demo", "run the whole pipeline offline on the miniature, in minutes"),
    Command("build", "run the pipeline with settings and models of your own", "FILE.toml"),
    Command("new", "write the settings of a real build, to begin with", "FILE.toml"),
    Command("taxonomy show", "show which harms a taxonomy knows, as a tree", "[FILE.toml]"),
    Command("taxonomy check", "tell every fault of a taxonomy of your own", "FILE.toml"),
    Command("taxonomy new", "write a taxonomy to begin with", "FILE.toml"),
    Command("pool show", "show who is in a pool of responders, and what each still lacks", "[FILE.toml]"),
    Command("pool new", "write a pool of responders to begin with", "FILE.toml"),
    Command("data import", "bring in a data set made elsewhere, to train on and evaluate with", "NAME"),
    Command("data export", "write a finished data set in the form of another trainer", "RUN"),
    Command("data push", "publish a finished data set on a hub; a push that was stopped goes on", "RUN REPO"),
    Command("train dpo", "align a model on the pairs of a data set", "--model MODEL --data DATA"),
    Command("train sft", "teach a model the chosen answers of a data set", "--model MODEL --data DATA"),
    Command("train reward", "teach a model to tell which answer is better", "--model MODEL --data DATA"),
    Command("train ppo", "align a model by rewards for its own answers", "--model MODEL --data DATA"),
    Command("train merge", "make a whole model of a LoRA checkpoint, for servers that load no adapters", "RUN"),
    Command("eval", "put models to benchmarks, and tell what can be told with intervals", "MODEL ... --suite NAME"),
    Command("compare", "compare two models that sat the same benchmarks, item by item", "A B [EVALUATION ...]"),
    Command("miniature", "build the miniature's checkpoint again from a seed"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if not given or given[0].startswith("-"):
        parser = _listing_parser("", VERBS)
        parser.parse_args(given)
        parser.print_help()
        return 0
    verb = next((verb for verb in VERBS if verb.name.split() == given[: verb.name.count(" ") + 1]), None)
    if verb is None:
        return _list_family(given)
    rest = given[verb.name.count(" ") + 1 :]
    with ended_as_by_hand():
        return _exit_code(lambda: _code(verb).run(parser_of(verb.name).parse_args(rest)), given)


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a verb's options."""
    verb = next(verb for verb in VERBS if verb.name == name)
    usage = " ".join(filter(None, ("spavl", name, verb.takes, "[options]")))
    parser = _Parser(prog=f"spavl {name}", usage=usage, description=verb.help, allow_abbrev=False)
    _code(verb).add_options(parser)
    return parser


def _code(verb: Command) -> Any:
    return importlib.import_module(f"spavl.cli.commands.{verb.name.replace(' ', '_')}")


class _Parser(argparse.ArgumentParser):
    """What was typed may be a file's name, which somebody else chose."""

    def error(self, message: str) -> NoReturn:
        super().error(line(message))


def _list_family(given: Sequence[str]) -> int:
    """`spavl taxonomy` lists the verbs that begin so; a word that begins none is a slip of the fingers."""
    family = [verb for verb in VERBS if verb.name.startswith(f"{given[0]} ")]
    if not family:
        _unknown(given[0], VERBS)
    if len(given) > 1 and not given[1].startswith("-"):
        _unknown(" ".join(given[:2]), family)
    parser = _listing_parser(f" {given[0]}", family)
    parser.parse_args(given[1:])
    parser.print_help()
    return 0


def _unknown(name: str, known: Sequence[Command]) -> NoReturn:
    _listing_parser("", VERBS).error(f"unknown verb {name!r}; known: {', '.join(verb.name for verb in known)}")


def _listing_parser(family: str, verbs: Sequence[Command]) -> argparse.ArgumentParser:
    width = max(len(verb.name) for verb in verbs) + 2
    listing = "\n".join(f"  {verb.name:<{width}}{verb.help}" for verb in verbs)
    parser = _Parser(
        prog=f"spavl{family}",
        usage=f"spavl{family} VERB [options]",
        description="Make vision-language models safe without making them useless, and prove it.",
        epilog=f"verbs:\n{listing}\n\nspavl VERB --help tells a verb's options. Begin with: spavl demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"spavl {__version__}")
    return parser


def _exit_code(work: Callable[[], None], given: Sequence[str]) -> int:
    """Run a verb; every way it can end becomes one clear message and a code."""
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
    except Exception as error:
        if "No space left on device" in str(error):
            _complain(StoreError("the disk is full", then=f"free some space, then type again: {again}"))
            return 2
        # Its last line is told again below; here it could begin a line as spavl does.
        tell(*(f"  {each}" for each in traceback.format_exc().splitlines()), file=sys.stderr)
        _complain(InternalError(f"a fault of spavl, not yours: {error!r}", then="report the lines above"))
        return 1
    return 0


def _complain(error: SpavlError) -> None:
    """Print an error, of which only the last part may have several lines; what they name can begin none of its own."""
    first, *rest = error.then.splitlines() or [""]
    where = (f"  where: {error.where}",) if error.where else ()
    then = (f"  next:  {first}", *(f"         {each.strip()}" for each in rest)) if error.then else ()
    tell(f"spavl: {error.what}", *where, *then, file=sys.stderr)
