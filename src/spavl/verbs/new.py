"""spavl new: write a settings file to begin with."""

import argparse
from importlib.resources import files
from pathlib import Path

from spavl.verbs.begin import write_new


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="the file to write; it must not exist yet")


def run(options: argparse.Namespace) -> None:
    write_new(options.file, files("spavl.miniature").joinpath("demo.toml").read_text())
    print(f"wrote {options.file}; now: spavl build {options.file}")
