"""spavl build: run a pipeline with settings of one's own."""

import argparse
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spavl.cli.silence_libraries import quiet_libraries
from spavl.cli.stopping import run_until_told
from spavl.config import laid_over
from spavl.config import options as settings_options
from spavl.errors import ConfigError
from spavl.evaluation.before_after.withheld import check_withheld
from spavl.pipeline.build import drive, replay
from spavl.pipeline.cost_estimate import estimate_cost
from spavl.pipeline.cost_table import page
from spavl.pipeline.registry import STAGES, BuildConfig, stages_of
from spavl.pipeline.report import terminal
from spavl.pipeline.settings import preset_names, read_config, read_preset, read_table
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell
from spavl.training.loop import distributed


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.toml", help="the settings; `spavl new my.toml` writes one to begin with")
    add_road_options(parser)


def run(options: argparse.Namespace) -> None:
    run_road(read_table(options.file), Path(options.file).stem, options)


def add_road_options(parser: argparse.ArgumentParser) -> None:
    names = [entry.name for entry in STAGES]
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the run folder (default: runs/ and the name)")
    parser.add_argument("--until", choices=names, metavar="STAGE", help=f"stop after this stage: {', '.join(names)}")
    parser.add_argument("--dry-run", action="store_true", help="tell calls, tokens and price; send and write nothing")
    parser.add_argument("--replay", action="store_true", help="make a run again from its ledger alone, asking nobody")
    presets = ", ".join(preset_names())
    parser.add_argument("--preset", choices=preset_names(), metavar="NAME", help=f"published training: {presets}")
    parser.add_argument("--budget", metavar="50usd", type=usd, help="hard spend stop for the whole run")
    settings = parser.add_argument_group("settings", "the same names as in the TOML file; lists as in TOML")
    for option in settings_options(BuildConfig):
        text = option.help if option.default is None else f"{option.help} (default: {option.spelled})"
        settings.add_argument(
            *option.flags,
            dest=option.name,
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
        )


def run_road(table: Mapping[str, Any], name: str, options: argparse.Namespace) -> None:
    given = {
        option.name: vars(options)[option.name] for option in settings_options(BuildConfig) if option.name in options
    }
    if options.budget is not None:
        given["budget_usd"] = options.budget
    preset = read_preset(options.preset) if options.preset else {}
    config = read_config(laid_over(preset, table), given, where=vars(options).get("file", name))
    out = options.out or Path("runs") / name
    quiet_libraries()
    if distributed.are_several():
        then = "build in one process, and train in several: accelerate launch -m spavl train dpo ..."
        raise ConfigError("a pipeline is walked by one process", where="accelerate launch", then=then)
    if options.dry_run:
        tell(*page(run_until_told(estimate_cost(config, out, options.until)), config.budget_usd))
        return
    work = replay if options.replay else drive
    summary = run_until_told(work(config, out, options.until, Screen()))
    tell(*terminal.curves(out), *terminal.lines(summary))
    tell(f"report: {out / 'report.html'}")
    check_withheld(summary.withheld)
    tell(f"next:  {_next_command(config, out, options)}")


def _next_command(config: BuildConfig, out: Path, options: argparse.Namespace) -> str:
    """What is typed after this build: the rest of it, a training on its data, or an evaluation of what was trained."""
    if options.until and options.until != stages_of(config)[-1].name:
        begun = ["build", options.file] if "file" in options else ["demo", "--algorithm", options.algorithm]
        return shlex.join(["spavl", *begun, "--out", str(out)])
    if config.training is None:
        return f"spavl train dpo --model MODEL --data {shlex.quote(str(out))} --dry-run"
    tested = [f"base={config.training.model}", f"aligned=hf/{out}/checkpoints/aligned"]
    judged = ["--guard", config.evaluation.guard, "--judge", config.evaluation.judge] if config.evaluation else []
    return shlex.join(["spavl", "eval", *tested, "--suite", "run", "--data", str(out), *filter(None, judged)])


def usd(text: str) -> str:
    """A sum as one types it: 50usd, 50 USD, $50 or 50."""
    found = re.fullmatch(r"\$?\s*(\d+(?:\.\d+)?)\s*(?:usd|\$)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no sum in US dollars; write it as 50usd or 12.50usd")
    return found[1]
