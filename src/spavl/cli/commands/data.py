"""spavl data: import, export or publish a data set."""

import argparse
import importlib
import shlex
from pathlib import Path
from typing import get_args

from spavl.cli.options import add_choice, add_out
from spavl.cli.parser import Command, CommandParser
from spavl.data.dataset.config import SPEC, DatasetConfig, LeaksConfig
from spavl.publishing.finished import open_finished
from spavl.publishing.importing.bring_in import bring_in
from spavl.publishing.importing.looks import image_settings
from spavl.publishing.importing.row_checks import RowsRead, how_to_use
from spavl.publishing.push import push
from spavl.stages.notes import RegionSetting, TextAction
from spavl.store.files import refuse_filled
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell

# Each is a file in publishing/exports.
FORMATS = ("trl", "llamafactory", "ms-swift", "spa-vl-rlhf", "llava")


def _add_import_options(parser: CommandParser) -> None:
    help_ = "a hub's OWNER/NAME such as sqrti/SPA-VL, or a folder; SPA-VL, spavl's own, or a trainer's preference form"
    parser.add_argument("name", metavar="NAME", help=help_)
    add_out(parser, "RUN", "the run folder to make", is_needed=True)
    parser.add_argument("--license", default="other", metavar="NAME", help="its license as hubs name it: cc-by-4.0")
    help_ = "leave out training and validation rows whose image is also, or nearly, in a later split"
    parser.add_argument("--drop-leaks", action="store_true", help=help_)
    help_ = (
        "personal data in its texts: keep (not looked for), count, redact or drop (rows are left out); default: keep"
    )
    add_choice(parser, "--personal-data", get_args(TextAction), "NAME", help_)
    for option, what in (("--faces", "faces in its images"), ("--personal-words", "personal data in their words")):
        help_ = f"{what}: keep (not looked for), count, blur or drop (rows are left out); default: keep"
        add_choice(parser, option, get_args(RegionSetting), "NAME", help_)
    parser.add_argument(
        "--drop-system-prompts",
        action="store_true",
        help="import rows that have a system prompt, without it; they are left out otherwise",
    )


def _import(options: argparse.Namespace) -> None:
    settings = DatasetConfig(license=options.license, leaks=LeaksConfig(drop=options.drop_leaks))
    reads = RowsRead(drop_system=options.drop_system_prompts)
    personal_data: TextAction = options.personal_data or "keep"
    images = image_settings(options.faces or "keep", options.personal_words or "keep")
    imported = bring_in(options.name, options.out, settings, Screen(), reads, personal_data, images)
    tell(", ".join(f"{number} {split}" for split, number in imported.rows.items()) + f" rows in {options.out}")
    if imported.rejects:
        tell("left out: " + ", ".join(f"{number} {reason}" for reason, number in imported.rejects.items()))
    tell(*(f"  {then}" for then in how_to_use(imported.rejects)))
    for row in imported.personal_data:
        tell(f"personal data: {row.as_line()}")
    if imported.leaks and not options.drop_leaks:
        tell(f"warning: {len(imported.leaks)} leaks between splits, such as {imported.leaks[0]}")
        tell(f"  all are in {options.out / 'leaks.jsonl'}; --drop-leaks leaves the training rows out")
    if imported.repeated:
        asked = f"{imported.repeated} {'question is' if imported.repeated == 1 else 'questions are'}"
        tell(f"{asked} asked in two splits, about different images: no leak, listed in {options.out / 'leaks.jsonl'}")
    tell(f"next:  spavl train dpo --model MODEL --data {shlex.quote(str(options.out))} --dry-run")


def _add_run(parser: CommandParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder, such as runs/demo")


def _add_export_options(parser: CommandParser) -> None:
    _add_run(parser)
    add_choice(parser, "--format", FORMATS, "NAME", "one of", is_needed=True)
    add_out(parser, "FOLDER", "where to (default: RUN/exports/NAME)")


def _export(options: argparse.Namespace) -> None:
    out: Path = options.out or options.run / "exports" / options.format
    if options.out:
        refuse_filled(out)
    form = importlib.import_module(f"spavl.publishing.exports.{options.format.replace('-', '_')}")
    with open_finished(options.run) as finished:
        rows = form.export(finished, out)
    counts = ", ".join(f"{count} {split}" for split, count in rows.items())
    tell(f"wrote {counts} rows to {out}", "", *str(form.__doc__).splitlines())


def _add_push_options(parser: CommandParser) -> None:
    _add_run(parser)
    parser.add_argument("repo", metavar="REPO", help="the repository's OWNER/NAME; it is created if it does not exist")
    parser.add_argument("--private", action="store_true", help="create it so that only its owner may see it")
    help_ = "publish texts that look like keys and open nothing; a key that this machine holds is never published"
    parser.add_argument("--allow-key-shapes", action="store_true", help=help_)


def _push(options: argparse.Namespace) -> None:
    with open_finished(options.run) as finished:
        folder = finished.path / SPEC.stage
        done = push(folder, options.repo, options.private, Screen(), options.allow_key_shapes)
    tell(f"{done.uploaded} shards uploaded, {done.there_before} were there; {done.commits} commits: {done.url}")


COMMANDS = (
    Command(
        "data import",
        "import a data set to train and evaluate on",
        _add_import_options,
        _import,
        "NAME --out RUN",
    ),
    Command(
        "data export", "write a data set in another trainer's format", _add_export_options, _export, "RUN --format NAME"
    ),
    Command("data push", "publish a data set on a hub; a stopped push goes on", _add_push_options, _push, "RUN REPO"),
)
