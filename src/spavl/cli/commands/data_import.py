"""spavl data import: a data set made elsewhere as a run from which training and evaluation go on."""

import argparse
import shlex
from pathlib import Path

from spavl.data.dataset.config import DatasetConfig, LeaksConfig
from spavl.publishing.importing.bring_in import HOW_TO_KEEP, bring_in
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    help_ = "a hub's OWNER/NAME such as sqrti/SPA-VL, or a folder; SPA-VL, spavl's own, or a trainer's preference form"
    parser.add_argument("name", metavar="NAME", help=help_)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="the run folder to make")
    parser.add_argument("--license", default="other", metavar="NAME", help="its license as hubs name it: cc-by-4.0")
    help_ = "leave out training and validation rows whose image stands, or nearly stands, in a later split too"
    parser.add_argument("--drop-leaks", action="store_true", help=help_)
    parser.add_argument(
        "--drop-system-prompts",
        action="store_true",
        help="bring in rows that have a system prompt, without it; they are left out otherwise",
    )


def run(options: argparse.Namespace) -> None:
    settings = DatasetConfig(license=options.license, leaks=LeaksConfig(drop=options.drop_leaks))
    brought = bring_in(options.name, options.out, settings, Screen(), options.drop_system_prompts)
    tell(", ".join(f"{number} {split}" for split, number in brought.rows.items()) + f" rows in {options.out}")
    if brought.rejects:
        tell("left out: " + ", ".join(f"{number} {reason}" for reason, number in brought.rejects.items()))
    if "system_prompt" in brought.rejects:
        tell(f"  {HOW_TO_KEEP}")
    if brought.leaks and not options.drop_leaks:
        tell(f"beware: {len(brought.leaks)} leaks between splits, such as {brought.leaks[0]}")
        tell(f"  all are in {options.out / 'leaks.jsonl'}; --drop-leaks leaves the training rows out")
    if brought.repeated:
        asked = f"{brought.repeated} {'question is' if brought.repeated == 1 else 'questions are'}"
        tell(f"{asked} asked in two splits, about different images: no leak, listed in {options.out / 'leaks.jsonl'}")
    tell(f"next:  spavl train dpo --model MODEL --data {shlex.quote(str(options.out))} --dry-run")
