"""The one command. A verb's code is loaded when the verb is typed, and its options come from the config classes."""

import argparse
import asyncio
import contextlib
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spavl import __version__
from spavl.errors import ConfigError, SpavlError


class Verb(NamedTuple):
    name: str
    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    # What must stand after the verb, for its usage line.
    takes: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = _front_parser()
    if not given or given[0].startswith("-"):
        parser.parse_args(given)
        parser.print_help()
        return 0
    verb = next((verb for verb in VERBS if verb.name == given[0]), None)
    if verb is None:
        parser.error(f"unknown verb {given[0]!r}; known: {', '.join(verb.name for verb in VERBS)}")
    options = parser_of(verb.name).parse_args(given[1:])
    return _exit_code(lambda: verb.run(options), given)


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a verb's options."""
    verb = next(verb for verb in VERBS if verb.name == name)
    usage = f"spavl {name}{verb.takes} [options]"
    parser = argparse.ArgumentParser(prog=f"spavl {name}", usage=usage, description=verb.help, allow_abbrev=False)
    verb.add_options(parser)
    return parser


def _front_parser() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {verb.name:<12}{verb.help}" for verb in VERBS)
    parser = argparse.ArgumentParser(
        prog="spavl",
        usage="spavl VERB [options]",
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
        print(f"spavl: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"\nspavl: stopped. What is finished is kept; go on with:\n  {again}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if "No space left on device" in str(error):
            print(f"spavl: the disk is full\n  next:  free some space, then type again: {again}", file=sys.stderr)
            return 2
        traceback.print_exc()
        print(f"spavl: a fault of spavl, not yours: {error!r}\n  next:  report the lines above", file=sys.stderr)
        return 1
    return 0


def _add_road_options(parser: argparse.ArgumentParser) -> None:
    from spavl.road import STAGES
    from spavl.settings import options

    names = [entry.name for entry in STAGES]
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the run folder (default: runs/ and the name)")
    parser.add_argument("--until", choices=names, metavar="STAGE", help=f"stop after this stage: {', '.join(names)}")
    settings = parser.add_argument_group("settings", "the same names as in the TOML file; lists as in TOML")
    for option in options():
        text = option.help if option.default is None else f"{option.help} (default: {option.spelled})"
        settings.add_argument(
            f"--{option.name}",
            dest=option.name,
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
        )


def _build_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.toml", help="the settings; `spavl new my.toml` writes one to begin with")
    _add_road_options(parser)


def _run_demo(options: argparse.Namespace) -> None:
    _run_road("demo", "demo", options)


def _run_build(options: argparse.Namespace) -> None:
    _run_road(options.file, Path(options.file).stem, options)


def _run_road(file: str, name: str, options: argparse.Namespace) -> None:
    from spavl.drive import drive
    from spavl.progress import Screen
    from spavl.report import terminal
    from spavl.settings import read_config, read_table

    laid_over = {key: value for key, value in vars(options).items() if key not in ("file", "out", "until")}
    config = read_config(read_table(file), laid_over, where=file)
    out = options.out or Path("runs") / name
    screen = Screen()
    with _quiet_libraries():
        summary = asyncio.run(drive(config, out, options.until, screen))
    print("\n".join(terminal.lines(summary)))
    print(f"report: {out / 'report.html'}")


def _new_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="the file to write; it must not exist yet")


def _run_new(options: argparse.Namespace) -> None:
    from importlib.resources import files

    if options.file.exists():
        raise ConfigError("this file exists already", where=str(options.file), then="choose another name")
    try:
        options.file.write_text(files("spavl.miniature").joinpath("demo.toml").read_text())
    except OSError as error:
        then = "choose a place that is there and that you may write to"
        raise ConfigError(f"cannot write this file: {error.strerror}", where=str(options.file), then=then) from None
    print(f"wrote {options.file}; now: spavl build {options.file}")


def _miniature_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="the shipped checkpoint was made from 0 (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/miniature"), help="folder of the new checkpoint")


def _run_miniature(options: argparse.Namespace) -> None:
    from spavl.progress import Screen

    screen = Screen()
    try:
        from spavl.training.miniature import STEPS, build
    except ModuleNotFoundError as error:
        from spavl.errors import MissingExtra

        raise MissingExtra(f"building a checkpoint needs {error.name}", then='pip install "spavl[hf]"') from None
    with _quiet_libraries(), screen.bar("miniature", STEPS, unit="steps") as bar:
        for step in build(options.out, options.seed):
            bar.advance(f"loss {step.metrics['loss']:.3f}")
    print(f"wrote the checkpoint to {options.out}; use it as hf/{options.out}")


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Their bars and hints would break ours."""
    import os

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    yield


VERBS = (
    Verb("demo", "walk the whole road offline on the miniature, in minutes", _add_road_options, _run_demo),
    Verb("build", "walk the road with settings and models of your own", _build_options, _run_build, " FILE.toml"),
    Verb("new", "write a settings file to begin with", _new_options, _run_new, " FILE.toml"),
    Verb("miniature", "build the miniature's checkpoint again from a seed", _miniature_options, _run_miniature),
)
