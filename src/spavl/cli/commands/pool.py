"""spavl pool: show a pool of responders, or write one to start from."""

import argparse
from importlib.resources import files
from pathlib import Path

from rich.text import Text

from spavl.cli.options import add_choice
from spavl.cli.parser import Command, CommandParser
from spavl.cli.write_template import as_typed, write_new
from spavl.data.responses.pool import SHIPPED, Responder, lacks, read_pool
from spavl.text.safe_console import SafeConsole
from spavl.text.safe_print import line, tell


def _add_show_options(parser: CommandParser) -> None:
    shipped = f"a pool of your own, or one that ships: {', '.join(SHIPPED)} (default: {SHIPPED[0]})"
    parser.add_argument("file", nargs="?", default=SHIPPED[0], metavar="FILE.toml", help=shipped)
    parser.completions["file"] = SHIPPED


def _show(options: argparse.Namespace) -> None:
    pool = read_pool(options.file)
    console = SafeConsole(highlight=False)
    ready = sum(not lacks(responder) for responder in pool.responder)
    head = f"{line(pool.name)}, version {pool.version}: {len(pool.responder)} responders, {ready} ready to be asked"
    console.print(Text(head, style="bold"))
    for responder in pool.responder:
        console.print(_responder_text(responder), soft_wrap=True)


def _responder_text(responder: Responder) -> Text:
    lacking = lacks(responder)
    state = (
        ("gone", "red")
        if responder.runs == "gone"
        else (f"lacks {lacking}", "yellow")
        if lacking
        else ("ready", "green")
    )
    lines = [Text.assemble((line(responder.name), "bold"), "  ", state, (f"  {line(responder.model)}", "dim"))]
    if responder.needs:
        lines.append(Text(f"  {line(responder.needs)}"))
    if responder.note:
        lines.append(Text(f"  {line(responder.note)}", style="dim"))
    return Text("\n").join(lines)


def _add_new_options(parser: CommandParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="the file to write; it must not exist yet")
    add_choice(parser, "--like", SHIPPED, "NAME", f"the pool to copy (default: {SHIPPED[0]})")


def _new(options: argparse.Namespace) -> None:
    like = options.like or SHIPPED[0]
    write_new(options.file, files("spavl.data.responses").joinpath(f"pools/{like}.toml").read_text(encoding="utf-8"))
    tell(f"wrote {options.file}; after every change: spavl pool show {as_typed(options.file)}")
    tell(f'a pipeline uses it with   [responses] pool = "{options.file}"')


COMMANDS = (
    Command("pool show", "list a pool's responders and what each lacks", _add_show_options, _show, "[FILE.toml]"),
    Command("pool new", "write a pool of responders to start from", _add_new_options, _new, "FILE.toml"),
)
