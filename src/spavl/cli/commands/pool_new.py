"""spavl pool new: write a pool to begin with."""

import argparse
import shlex
from importlib.resources import files
from pathlib import Path

from spavl.cli.write_template import write_new
from spavl.data.responses.pool import SHIPPED
from spavl.text.safe_print import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="the file to write; it must not exist yet")
    parser.add_argument("--like", choices=SHIPPED, default=SHIPPED[0], help=f"copy this one (default: {SHIPPED[0]})")


def run(options: argparse.Namespace) -> None:
    text = files("spavl.data.responses").joinpath(f"pools/{options.like}.toml").read_text(encoding="utf-8")
    write_new(options.file, text)
    tell(f"wrote {options.file}; after every change: spavl pool show {shlex.quote(str(options.file))}")
    tell(f'a pipeline uses it with   [responses] pool = "{options.file}"')
