"""spavl new: write the settings of a real build, to begin with."""

import argparse
import shlex
from importlib.resources import files
from pathlib import Path

from spavl.cli.write_template import write_new
from spavl.text.safe_print import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="the file to write; it must not exist yet")


def run(options: argparse.Namespace) -> None:
    text = files("spavl.cli.commands").joinpath("new.toml").read_text(encoding="utf-8")
    write_new(options.file, text.replace("FILE.toml", str(options.file)))
    then = f"spavl build {shlex.quote(str(options.file))} --dry-run"
    tell(f"wrote {options.file}; put your images and models in, then: {then}")
