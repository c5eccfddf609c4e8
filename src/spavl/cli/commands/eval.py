"""spavl eval: benchmarks put to models, judged, and told with intervals."""

import argparse
import json
import shlex
from pathlib import Path

from spavl.cli.commands.build import usd
from spavl.cli.silence_libraries import quiet_libraries
from spavl.cli.stopping import run_until_told
from spavl.config import options as settings_options
from spavl.config import read_settings
from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.cost_estimate import estimate_evaluation
from spavl.evaluation.metrics.withheld import gate_error
from spavl.evaluation.report import terminal_lines
from spavl.evaluation.runner import run_evaluation
from spavl.pipeline.cost_table import page
from spavl.pipeline.settings import read_table
from spavl.terminal.progress import Screen
from spavl.text.layout import wrapped
from spavl.text.safe_print import tell

# Settings that have words of their own on the command line.
_ANSWERED = ("models", "budget_usd")
_SEVERAL = ("suite", "data", "guard", "conditions")


def add_options(parser: argparse.ArgumentParser) -> None:
    help_ = "miniature/base, hf/PATH (an adapter too), openai/NAME@URL; NAME=MODEL gives one a shorter name"
    parser.add_argument("models", nargs="*", metavar="MODEL", help=help_)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="the evaluation's folder (default: runs/evaluation-SUITE)"
    )
    parser.add_argument("--config", metavar="FILE.toml", help="settings from a file; options are laid over it")
    parser.add_argument("--budget", metavar="50usd", type=usd, help="hard spend stop for the whole evaluation")
    parser.add_argument("--dry-run", action="store_true", help="tell calls, tokens and price; send and write nothing")
    settings = parser.add_argument_group("settings", "the same names as in a TOML file; commas between several")
    for option in settings_options(EvaluationConfig):
        if option.name in _ANSWERED:
            continue
        text = option.help if option.default is None else f"{option.help} (default: {option.spelled})"
        dashed = f"--{option.name.replace('_', '-')}"
        settings.add_argument(
            *dict.fromkeys((dashed, f"--{option.name}")),
            dest=option.name,
            metavar="VALUE",
            default=argparse.SUPPRESS,
            nargs="+" if option.name in _SEVERAL else None,
            help=text.replace("%", "%%"),
        )


def run(options: argparse.Namespace) -> None:
    config = config_of(options)
    out = options.out or Path("runs") / f"exam-{'-'.join(config.suite)}"
    quiet_libraries()
    if options.dry_run:
        estimate, told = run_until_told(estimate_evaluation(config, out))
        tell(*page(estimate, config.budget_usd), *(line for each in told for line in wrapped(each, "    ")))
        return
    results = run_until_told(run_evaluation(config, out, Screen()))
    tell(*terminal_lines.lines(results))
    tell(f"report: {out / 'report.html'}  (metrics: results.json, table.md, card.md)")
    if results.withheld:
        raise gate_error(results.withheld, config.max_invalid)
    others = [name for name in results.tested if name != results.base]
    if others and results.base in results.tested:
        tell(f"next:  {shlex.join(['spavl', 'compare', results.base, others[0], str(out)])}")


def config_of(options: argparse.Namespace) -> EvaluationConfig:
    given = vars(options)
    table = read_table(options.config) if options.config else {}
    named = {each.name: given[each.name] for each in settings_options(EvaluationConfig) if each.name in given}
    laid_over = {name: ",".join(value) if isinstance(value, list) else value for name, value in named.items()}
    laid_over |= {"models": json.dumps(options.models)} if options.models else {}
    laid_over |= {"budget_usd": options.budget} if options.budget is not None else {}
    config = read_settings(EvaluationConfig, table, laid_over, where=options.config or "spavl eval")
    if not config.models:
        then = "name one or more, such as miniature/base or hf/runs/demo/checkpoints/aligned"
        raise ConfigError("no model is named that is to be tested", where="spavl eval", then=then)
    return config
