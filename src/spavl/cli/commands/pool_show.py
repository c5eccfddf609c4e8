"""spavl pool show: who is in a pool, and what each still lacks."""

import argparse

from rich.text import Text

from spavl.data.responses.pool import SHIPPED, Responder, lacks, read_pool
from spavl.text.safe_console import SafeConsole
from spavl.text.safe_print import line


def add_options(parser: argparse.ArgumentParser) -> None:
    shipped = f"a pool of your own, or one that ships: {', '.join(SHIPPED)} (default: {SHIPPED[0]})"
    parser.add_argument("file", nargs="?", default=SHIPPED[0], metavar="FILE.toml", help=shipped)


def run(options: argparse.Namespace) -> None:
    pool = read_pool(options.file)
    console = SafeConsole(highlight=False)
    ready = sum(not lacks(responder) for responder in pool.responder)
    head = f"{line(pool.name)}, version {pool.version}: {len(pool.responder)} responders, {ready} ready to be asked"
    console.print(Text(head, style="bold"))
    for responder in pool.responder:
        console.print(_told(responder), soft_wrap=True)


def _told(responder: Responder) -> Text:
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
