"""spavl build, spavl demo and spavl new: run the pipeline on the user's settings or on those of the demo."""

import argparse
import shlex
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from spavl.cli.options import add_budget, add_choice, add_dry_run, add_out, add_preset, add_settings, settings_of
from spavl.cli.parser import Command, CommandParser
from spavl.cli.silence_libraries import silence_libraries
from spavl.cli.stopping import run_until_told
from spavl.cli.write_template import as_typed, write_new
from spavl.config import laid_over, sections
from spavl.errors import ConfigError
from spavl.evaluation.before_after.withheld import check_withheld
from spavl.pipeline.build import replay, run_build
from spavl.pipeline.cost_estimate import estimate_cost
from spavl.pipeline.cost_table import page
from spavl.pipeline.registry import STAGES, BuildConfig, stages_of
from spavl.pipeline.report import terminal
from spavl.pipeline.settings import DEMO, demo_table, preset_names, read_config, read_preset, read_table
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell
from spavl.training.loop import distributed

_WAYS = ("dpo", "ppo")


def _add_build_options(parser: CommandParser) -> None:
    parser.add_argument("file", metavar="FILE.toml", help="the settings; `spavl new my.toml` writes one to start from")
    _add_pipeline_options(parser)
    add_settings(parser, settings_of(BuildConfig), sections(BuildConfig))


def _build(options: argparse.Namespace) -> None:
    _run_pipeline(read_table(options.file), Path(options.file).stem, options, ["build", options.file])


def _add_demo_options(parser: CommandParser) -> None:
    add_choice(parser, "--algorithm", _WAYS, "NAME", "how the model is aligned (default: dpo), one of")
    _add_pipeline_options(parser)
    add_settings(parser, settings_of(BuildConfig), sections(BuildConfig), is_listed=False)


def _demo(options: argparse.Namespace) -> None:
    way = options.algorithm or "dpo"
    name = DEMO if way == "dpo" else f"{DEMO}-{way}"
    _run_pipeline(demo_table(way), name, options, ["demo", "--algorithm", way])


def _add_new_options(parser: CommandParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="the file to write; it must not exist yet")


def _new(options: argparse.Namespace) -> None:
    text = files("spavl.cli.commands").joinpath("new.toml").read_text(encoding="utf-8")
    write_new(options.file, text.replace("FILE.toml", as_typed(options.file)))
    then = f"spavl build {as_typed(options.file)} --dry-run"
    tell(f"wrote {options.file}; put your images and models in, then: {then}")


def _add_pipeline_options(parser: CommandParser) -> None:
    add_out(parser, "FOLDER", "the run folder (default: runs/ and the name)")
    add_choice(parser, "--until", [entry.name for entry in STAGES], "STAGE", "stop after this stage")
    add_dry_run(parser, "print the estimated calls, tokens and cost; send and write nothing")
    parser.add_argument(
        "--replay", action="store_true", help="rebuild a run from its ledger alone, without calling a model"
    )
    add_preset(parser, list(preset_names()))
    add_budget(parser)


def _run_pipeline(table: Mapping[str, Any], name: str, options: argparse.Namespace, again: list[str]) -> None:
    typed = dict(options.settings)
    if options.budget is not None:
        if typed.get("budget_usd", options.budget) != options.budget:
            raise ConfigError("--budget and --budget-usd differ", where="spavl", then="keep one of them")
        typed["budget_usd"] = options.budget
    preset = read_preset(options.preset) if options.preset else {}
    config = read_config(laid_over(preset, table), typed, where=again[1] if again[0] == "build" else name)
    out = options.out or Path("runs") / name
    silence_libraries()
    if distributed.are_several():
        then = "build in one process, and train in several: accelerate launch -m spavl train dpo ..."
        raise ConfigError("a pipeline runs in one process", where="accelerate launch", then=then)
    if options.dry_run:
        tell(*page(run_until_told(estimate_cost(config, out, options.until)), config.budget_usd))
        return
    work = replay if options.replay else run_build
    summary = run_until_told(work(config, out, options.until, Screen()))
    tell(*terminal.curves(out), *terminal.lines(summary))
    tell(f"report: {out / 'report.html'}")
    check_withheld(summary.withheld)
    stopped = options.until and options.until != stages_of(config)[-1].name
    go_on = shlex.join(["spavl", *again, "--out", str(out), *_typed_options(options)])
    tell(f"next:  {go_on if stopped else _next_command(config, out)}")


def _typed_options(options: argparse.Namespace) -> Iterator[str]:
    """The settings that the user typed, as options: without a `--limit`, the next command would pay for all rows."""
    if options.preset:
        yield f"--preset={options.preset}"
    if options.budget is not None:
        yield f"--budget={options.budget}usd"
    yield from (f"--{name.replace('_', '-')}={text}" for name, text in options.settings.items())


def _next_command(config: BuildConfig, out: Path) -> str:
    """The command to type after a finished build: train on its data, or evaluate the trained model."""
    if config.training is None:
        return f"spavl train dpo --model MODEL --data {shlex.quote(str(out))} --dry-run"
    tested = [f"base={config.training.model}", f"aligned={out}"]
    judged = ["--guard", config.evaluation.guard, "--judge", config.evaluation.judge] if config.evaluation else []
    return shlex.join(["spavl", "eval", *tested, "--suite", "run", "--data", str(out), *filter(None, judged)])


COMMANDS = (
    Command(
        "demo",
        "run the whole pipeline offline on the toy model, in minutes",
        _add_demo_options,
        _demo,
        epilog="Every setting of a build is an option here too: spavl build --help",
    ),
    Command("build", "run the pipeline on your own settings and models", _add_build_options, _build, "FILE.toml"),
    Command("new", "write the settings of a build to start from", _add_new_options, _new, "FILE.toml"),
)
