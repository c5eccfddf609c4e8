"""spavl build: walk a road with settings of one's own."""

import argparse
import asyncio
from pathlib import Path

from spavl.drive import drive
from spavl.progress import Screen
from spavl.report import terminal
from spavl.road import STAGES
from spavl.settings import options as settings_options
from spavl.settings import read_config, read_table
from spavl.verbs.quiet import quiet_libraries


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.toml", help="the settings; `spavl new my.toml` writes one to begin with")
    add_road_options(parser)


def run(options: argparse.Namespace) -> None:
    run_road(options.file, Path(options.file).stem, options)


def add_road_options(parser: argparse.ArgumentParser) -> None:
    names = [entry.name for entry in STAGES]
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the run folder (default: runs/ and the name)")
    parser.add_argument("--until", choices=names, metavar="STAGE", help=f"stop after this stage: {', '.join(names)}")
    settings = parser.add_argument_group("settings", "the same names as in the TOML file; lists as in TOML")
    for option in settings_options():
        text = option.help if option.default is None else f"{option.help} (default: {option.spelled})"
        settings.add_argument(
            f"--{option.name}",
            dest=option.name,
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
        )


def run_road(file: str, name: str, options: argparse.Namespace) -> None:
    laid_over = {key: value for key, value in vars(options).items() if key not in ("file", "out", "until")}
    config = read_config(read_table(file), laid_over, where=file)
    out = options.out or Path("runs") / name
    quiet_libraries()
    summary = asyncio.run(drive(config, out, options.until, Screen()))
    print("\n".join(terminal.lines(summary)))
    print(f"report: {out / 'report.html'}")
