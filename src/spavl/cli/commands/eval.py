"""spavl eval: models on benchmarks, with a confidence interval for every rate."""

import argparse
import json
import shlex
from pathlib import Path

from spavl.cli.options import add_budget, add_dry_run, add_out, add_settings, settings_of
from spavl.cli.parser import Command, CommandParser
from spavl.cli.silence_libraries import silence_libraries
from spavl.cli.stopping import run_until_told
from spavl.config import read_settings, sections
from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.registry import BENCHMARKS, SUITES, suite
from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.cost_estimate import estimate_evaluation
from spavl.evaluation.metrics.withheld import gate_error
from spavl.evaluation.report import terminal_lines
from spavl.evaluation.runner import run_evaluation
from spavl.pipeline.cost_table import page
from spavl.pipeline.settings import read_table
from spavl.terminal.progress import Screen
from spavl.text.layout import wrapped_lines
from spavl.text.safe_print import tell

# Sections whose settings need no prefix.
_PREFIXES = ("contamination", "servers")


def _add_options(parser: CommandParser) -> None:
    help_ = "a run, a folder (an adapter too), a hub id, openai/NAME@URL; NAME=MODEL gives one a shorter name"
    parser.add_argument("models", nargs="*", metavar="MODEL", help=help_)
    add_out(parser, "FOLDER", "the evaluation's folder (default: runs/evaluation-SUITE)")
    parser.add_argument("--config", metavar="FILE.toml", help="settings from a file; options win over it")
    add_budget(parser)
    add_dry_run(parser, "print the estimated calls, tokens and cost; send and write nothing")
    settings = settings_of(EvaluationConfig, without=("models", "budget_usd"))
    add_settings(parser, settings, sections(EvaluationConfig), _PREFIXES)
    parser.completions["--suite"] = (*SUITES, *BENCHMARKS)


def _run(options: argparse.Namespace) -> None:
    config = _config_of(options)
    out = options.out or Path("runs") / f"evaluation-{'-'.join(config.suite)}"
    silence_libraries()
    if options.dry_run:
        estimate, told = run_until_told(estimate_evaluation(config, out))
        tell(*page(estimate, config.budget_usd), *(line for each in told for line in wrapped_lines(each, "    ")))
        return
    results = run_until_told(run_evaluation(config, out, Screen()))
    tell(*terminal_lines.lines(results))
    tell(f"report: {out / 'report.html'}  (metrics: results.json, table.md, card.md)")
    if results.withheld:
        raise gate_error(results.withheld, config.max_invalid)
    others = [name for name in results.tested if name != results.base]
    if others and results.base in results.tested:
        tell(f"next:  {shlex.join(['spavl', 'compare', results.base, others[0], str(out)])}")


def _config_of(options: argparse.Namespace) -> EvaluationConfig:
    table = read_table(options.config, EvaluationConfig) if options.config else {}
    typed = dict(options.settings)
    typed |= {"models": json.dumps(options.models)} if options.models else {}
    typed |= {"budget_usd": options.budget} if options.budget is not None else {}
    config = read_settings(EvaluationConfig, table, typed, where=options.config or "spavl eval")
    if not config.models:
        then = "name one or more, such as miniature/base or a run: runs/demo"
        raise ConfigError("no model is named that is to be evaluated", where="spavl eval", then=then)
    for name in config.suite:
        suite(name)
    return config


COMMANDS = (
    Command(
        "eval",
        "evaluate models on benchmarks; every rate has a confidence interval",
        _add_options,
        _run,
        "MODEL ... --suite NAME",
    ),
)
