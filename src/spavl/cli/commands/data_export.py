"""spavl data export: a finished data set in the form of another trainer."""

import argparse
import importlib
from pathlib import Path

from spavl.publishing.finished import open_finished
from spavl.store.files import refuse_filled
from spavl.text.safe_print import tell

# Each is a file in publishing/exports.
FORMATS = ("trl", "llamafactory", "ms-swift", "spa-vl-rlhf", "llava")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder, such as runs/demo")
    known = ", ".join(FORMATS)
    parser.add_argument("--format", required=True, choices=FORMATS, metavar="NAME", help=f"one of: {known}")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to (default: RUN/exports/NAME)")


def run(options: argparse.Namespace) -> None:
    out: Path = options.out or options.run / "exports" / options.format
    if options.out:
        refuse_filled(out)
    form = importlib.import_module(f"spavl.publishing.exports.{options.format.replace('-', '_')}")
    with open_finished(options.run) as finished:
        rows = form.export(finished, out)
    counts = ", ".join(f"{count} {split}" for split, count in rows.items())
    tell(f"wrote {counts} rows to {out}", "", *str(form.__doc__).splitlines())
