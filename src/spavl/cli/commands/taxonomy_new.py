"""spavl taxonomy new: write a taxonomy to begin with."""

import argparse
import shlex
from importlib.resources import files
from pathlib import Path

from spavl.cli.write_template import write_new
from spavl.text.safe_print import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="the file to write; it must not exist yet")


def run(options: argparse.Namespace) -> None:
    write_new(options.file, files("spavl.data.taxonomy").joinpath("begin.toml").read_text(encoding="utf-8"))
    tell(f"wrote {options.file}; after every change: spavl taxonomy check {shlex.quote(str(options.file))}")
