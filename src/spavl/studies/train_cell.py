"""Runs one cell: its part of the data set, its training, and its evaluation, in a folder of its own.

cells/ID/
  run.json config.toml tables/ stages/   a run whose data set is the cell's part of the study's; it was trained here
  blobs -> the images of the study's data set, which are stored once
  checkpoints/aligned                    the trained model; merged, if it is an adapter and another cell goes on with it
  evaluation/                            the one evaluation, of this model alone
  attempts.jsonl                         a line for each start of its training: where and when
  failed.txt                             why the cell failed, until it is run again
"""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from spavl.config import write_config
from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig, resolve_evaluation_config
from spavl.evaluation.results.file import FILE as RESULTS
from spavl.evaluation.results.file import read_results
from spavl.evaluation.runner import run_evaluation
from spavl.models.factory import ModelFactory
from spavl.records import Sample, content_hash
from spavl.stages.context import StageContext
from spavl.stages.finishing import current_manifest
from spavl.store import Manifest, RunFolder
from spavl.store.files import write_text
from spavl.studies.config import BASE, StudyConfig
from spavl.studies.data import StudyData
from spavl.studies.grid.cells import Cell, untrained_cell
from spavl.studies.selection import select_pairs
from spavl.terminal.progress import Screen
from spavl.training.config import SPEC

FAILED, EVALUATION = "failed.txt", "evaluation"
# The name of the cell's model in its own evaluation, the same in all cells, so that no name depends on the study's.
# With a judge, the model before training is there too, by the name BASE.
MODEL = "cell"


class StudyPlace(NamedTuple):
    """Where a study keeps its cells, and what all of them share."""

    folder: Path
    config: StudyConfig
    data: Mapping[str, StudyData]

    def cell(self, cell: Cell) -> Path:
        return self.folder / "cells" / cell.id

    @property
    def images(self) -> Path:
        """The images of the benchmarks, which the evaluations of all cells share."""
        return self.folder / "benchmark-images"


async def run_cell(place: StudyPlace, cell: Cell, screen: Screen) -> None:
    """Train and evaluate a cell whose parent is done. Raises RunInUse if another process runs it."""
    folder = place.cell(cell)
    with RunFolder(folder, cell.config.seed) as run:
        (folder / FAILED).unlink(missing_ok=True)
        run.write_config(write_config(cell.config))
        if cell.config.training is not None:
            data = place.data[cell.config.selection.source]
            _link(folder / "blobs", data.folder / "blobs")
            _write_pairs(run, data, cell)
            await _train(run, cell, place, screen)
        config = evaluation_of_cell(place, cell)
        with RunFolder(folder / EVALUATION, config.seed) as evaluation:
            _link(folder / EVALUATION / "blobs", place.images)
            if is_compared(place, cell):
                evaluation.copy_calls(place.cell(untrained_cell(cell, place.data)) / EVALUATION)
        # They may be of other models: of a judge that compared the cell's with another.
        (folder / EVALUATION / RESULTS).unlink(missing_ok=True)
        await run_evaluation(config, folder / EVALUATION, Screen(quiet=True))


def is_compared(place: StudyPlace, cell: Cell) -> bool:
    """Whether a judge compares the cell's answers with those of its model before training."""
    return bool(place.config.measure.judge) and cell.config.training is not None


def evaluation_of_cell(place: StudyPlace, cell: Cell) -> EvaluationConfig:
    return evaluation_of(place, model_of(place, cell), cell.config.model if is_compared(place, cell) else "")


def evaluation_of(place: StudyPlace, model: str, against: str = "") -> EvaluationConfig:
    """The settings of a cell's evaluation. Without other data, the questions are those of the study's test splits."""
    measure = place.config.measure
    is_own = {"run", "twins"} & set(measure.suite) and not any(each.startswith("run=") for each in measure.benchmarks)
    return EvaluationConfig(
        models=(*((f"{BASE}={against}",) if against else ()), f"{MODEL}={model}"),
        suite=measure.suite,
        data=(*measure.benchmarks, *((f"run={place.data[''].folder}",) if is_own else ())),
        limit=measure.limit,
        guard=measure.guard,
        judge=measure.judge,
        max_invalid=measure.max_invalid,
        max_tokens=measure.max_tokens,
        baselines=False,
        trust_remote_code=place.config.trust_remote_code,
    )


def is_done(place: StudyPlace, cell: Cell) -> bool:
    """Whether the cell's results are there, by this study's own evaluation settings."""
    try:
        found = read_results(place.cell(cell) / EVALUATION).config
    except ConfigError:
        return False  # no results yet, or of another version
    return found == resolve_evaluation_config(evaluation_of_cell(place, cell))


def model_of(place: StudyPlace, cell: Cell) -> str:
    """The model that a cell evaluates: the one that it has trained, or an untrained one."""
    trained = f"hf/{place.cell(cell) / 'checkpoints' / 'aligned'}"
    return cell.config.model if cell.config.training is None else trained


def _write_pairs(run: RunFolder, data: StudyData, cell: Cell) -> None:
    """The cell's data set: its pairs, and the validation pairs of the study's, the same for every cell."""
    origin = f"a part of {data.folder}"
    held = run.manifest("dataset")
    if held is not None and held.origin == origin:
        return
    rows: Sequence[Sample] = [*select_pairs(data, cell.config.selection, cell.config.seed), *data.validation]
    run.write_rows("dataset", Sample, rows)
    content = run.content("dataset", Sample)
    run.write_manifest(Manifest("dataset", content_hash([origin, content]), content, len(rows), {}, 0.0, origin=origin))


async def _train(run: RunFolder, cell: Cell, place: StudyPlace, screen: Screen) -> None:
    from spavl.training import run as training  # needs torch

    assert cell.config.training is not None
    config, settings = place.config, cell.config.training
    if cell.parent is not None:
        settings = settings.model_copy(update={"model": _model_to_go_on_with(place, cell.parent)})
    models = ModelFactory(run.ledger, say=screen.say).trusting(config.trust_remote_code)
    context = StageContext(run, settings, cell.config.seed, models, screen, config.measure.in_flight)
    try:
        if current_manifest(context, SPEC) is None:
            _note_attempt(run.path)
            await training.run(context)
    finally:
        await models.close()


def _model_to_go_on_with(place: StudyPlace, parent: Cell) -> str:
    """The trained model of a cell as a whole one: an adapter is merged into its base first."""
    from spavl.training.model.trainable import ADAPTER, merge  # needs torch

    aligned = place.cell(parent) / "checkpoints" / "aligned"
    merged = aligned.with_name("merged")
    if (aligned / ADAPTER).exists() and not merged.exists():
        merge(aligned, merged, place.config.trust_remote_code)
    return f"hf/{merged if merged.exists() else aligned}"


def _note_attempt(folder: Path) -> None:
    line = {"host": socket.gethostname(), "process": os.getpid(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    with (folder / "attempts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _link(link: Path, to: Path) -> None:
    """Make a folder of images a link to the one that all cells share."""
    to.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.resolve() == to.resolve():
        return
    with contextlib.suppress(FileNotFoundError):
        link.unlink() if link.is_symlink() else shutil.rmtree(link)
    link.symlink_to(to.resolve(), target_is_directory=True)


def write_failure(place: StudyPlace, cell: Cell, why: str) -> None:
    write_text(place.cell(cell) / FAILED, why)


def failed_since(place: StudyPlace, cell: Cell, began: float) -> bool:
    """Whether a process has failed at the cell after this time of a file."""
    try:
        return (place.cell(cell) / FAILED).stat().st_mtime >= began
    except FileNotFoundError:
        return False


def failure_of(place: StudyPlace, cell: Cell) -> str:
    """Why a cell failed; empty if it has not, or another process tries it again."""
    try:
        return (place.cell(cell) / FAILED).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def failure_line(failure: str) -> str:
    """The line of a failure that says most."""
    lines = failure.strip().splitlines() or [""]
    return lines[-1 if lines[0].startswith("Traceback") else 0]
