"""spavl study: trainings and evaluations on parts of a data set, compared in one table."""

import argparse
import shlex
from pathlib import Path
from typing import get_args

from spavl.cli.options import add_choice, add_dry_run, add_out, add_settings, settings_of
from spavl.cli.parser import Command, CommandParser
from spavl.cli.silence_libraries import silence_libraries
from spavl.cli.stopping import run_until_told
from spavl.config import sections
from spavl.errors import ConfigError, TrainingError
from spavl.store.files import folder_name
from spavl.studies.checks import check_named
from spavl.studies.config import StudyConfig
from spavl.studies.estimate import estimate_study
from spavl.studies.jobs import Cluster, write_jobs
from spavl.studies.named import read_study, study_names
from spavl.studies.report import terminal_lines
from spavl.studies.run import help_study, list_cells, run_study
from spavl.studies.train_cell import FAILED, failure_line
from spavl.terminal.progress import Screen
from spavl.text.safe_print import tell

# Sections whose settings need no prefix.
_PREFIXES = ("measure", "selection", "training", "training.loop", "training.dpo")


def _add_options(parser: CommandParser) -> None:
    names = study_names()
    parser.add_argument("name", metavar="NAME", help=f"{', '.join(names)}; or a TOML file of your own")
    parser.completions["NAME"] = tuple(names)
    add_out(parser, "FOLDER", "the study's folder (default: runs/study-NAME, with --quick runs/study-NAME-quick)")
    parser.add_argument("--quick", action="store_true", help="a small form of the study, to see that all of it works")
    parser.add_argument("--cell", metavar="ID", default="", help="run this cell alone, as a job of a cluster does")
    parser.add_argument("--helper", metavar="BEGAN", type=float, help=argparse.SUPPRESS)
    add_choice(parser, "--on", get_args(Cluster), "CLUSTER", "write job files, a cell a job, and run nothing")
    add_dry_run(parser, "print the cells and what they will take; train and write nothing")
    settings = settings_of(
        StudyConfig, without=("question", "axes", "arms", "equal_arms", "expectations", "training.model")
    )
    add_settings(parser, settings, sections(StudyConfig), _PREFIXES)


def _run(options: argparse.Namespace) -> None:
    config = read_study(options.name, options.quick, options.settings)
    stem = folder_name(Path(options.name).stem)
    out = options.out or Path("runs") / f"study-{stem}{'-quick' if options.quick else ''}"
    check_named(config)
    silence_libraries()
    screen = Screen()
    if options.dry_run:
        tell(*terminal_lines.plan(run_until_told(estimate_study(config, out, screen))))
        return
    if options.on:
        _write_jobs(options, config, out, screen)
        return
    if options.helper is not None:
        run_until_told(help_study(config, out, options.helper, screen))
        return
    results = run_until_told(run_study(stem, config, out, screen, options.cell))
    tell(*terminal_lines.lines(results))
    tell(f"report: {out / 'report.html'}  (numbers: study.json; Markdown: table.md)")
    # The job of a cell has failed if that cell has.
    asked = [cell for cell in results.cells if options.cell in ("", cell.id)]
    if failed := [cell for cell in asked if cell.state == "failed"]:
        words = ["spavl", "study", options.name, "--out", str(out)]
        arms = ", ".join(sorted({each.arm for each in failed}))
        file = out / "cells" / failed[0].id / FAILED
        raise TrainingError(
            f"{len(failed)} of {len(asked)} cells failed: {arms}; the first: {failure_line(failed[0].failure)}",
            # A cell whose folder cannot be read has no file of its own.
            where=str(file if file.exists() else out / "study.json"),
            then=f"read there why; the same command goes on: {shlex.join(words)} ...",
        )


def _write_jobs(options: argparse.Namespace, config: StudyConfig, out: Path, screen: Screen) -> None:
    """Job files whose jobs run this very command, each with the id of its cell."""
    words = ["spavl", "study", options.name, "--out", str(out), *(["--quick"] if options.quick else [])]
    for name, text in options.settings.items():
        words += [f"--{name}", text]
    cells = run_until_told(list_cells(config, out, screen))
    left = [cell for cell, is_done in cells if not is_done]
    if not left:
        raise ConfigError("every cell of this study is done", where=str(out), then="type the command without --on")
    files = write_jobs(options.on, out, folder_name(Path(options.name).stem), words, left)
    tell(f"{len(left)} of {len(cells)} cells are not done; wrote {len(files)} files into {files[0].parent}")
    tell("when all jobs have ended, the table and the report are made by:", f"  {shlex.join(words)}")


COMMANDS = (
    Command(
        "study",
        "train and evaluate on parts of a data set: what made it safe?",
        _add_options,
        _run,
        "NAME --model MODEL --data DATA",
    ),
)
