"""What a study will take, before it starts: its cells, their pairs, measured steps and memory, and calls of models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from spavl.evaluation.config import ItemsConfig, part
from spavl.evaluation.items import found_in, placed_benchmarks
from spavl.studies.config import StudyConfig
from spavl.studies.data import StudyData, data_by_name, open_data
from spavl.studies.grid.arms import grid_of
from spavl.studies.grid.cells import Cell, cells_of_arms, cells_to_run
from spavl.studies.selection import select_pairs
from spavl.studies.train_cell import StudyPlace, evaluation_of, is_done
from spavl.terminal.progress import Screen


class CellEstimate(NamedTuple):
    cell: Cell
    pairs: int
    is_done: bool
    # None if the model does not fit into this machine, so that no step could be measured; 0 without a training.
    seconds: float | None
    # Bytes.
    memory: int


class StudyEstimate(NamedTuple):
    config: StudyConfig
    cells: Sequence[CellEstimate]
    # The items of the evaluation of one cell.
    items: int
    warnings: Sequence[str]

    @property
    def calls(self) -> int:
        """Answers that are generated, without those of finished cells."""
        return self.items * sum(not each.is_done for each in self.cells)


def estimate_study(config: StudyConfig, out: Path, screen: Screen) -> StudyEstimate:
    """Nothing is written: data that must be imported are imported into a folder that is deleted afterwards."""
    with TemporaryDirectory(prefix="spavl-") as temporary:
        imported = out / "data" if (out / "data").is_dir() else Path(temporary) / "data"
        with open_data(data_by_name(config.data), imported, screen) as data:
            place, grid = StudyPlace(out, config, data), grid_of(config, data)
            cells = cells_to_run(cells_of_arms(grid.arms, config.seeds, data))
            steps = _StepTimes(config, data, screen)
            estimates = [_estimate(place, cell, steps) for cell in cells]
            asked = part(evaluation_of(place, config.model[0]), ItemsConfig)
            items = sum(len(found_in(placed, asked.limit)) for placed in placed_benchmarks(asked))
            return StudyEstimate(config, estimates, items, grid.warnings)


def _estimate(place: StudyPlace, cell: Cell, steps: "_StepTimes") -> CellEstimate:
    if cell.config.training is None:
        return CellEstimate(cell, 0, is_done(place, cell), 0.0, 0)
    pairs = len(select_pairs(place.data[cell.config.selection.source], cell.config.selection, cell.config.seed))
    measured = steps.of(cell)
    seconds = measured.seconds_per_pair * pairs if measured.seconds_per_pair is not None else None
    return CellEstimate(cell, pairs, is_done(place, cell), seconds, measured.memory)


class _PairCost(NamedTuple):
    seconds_per_pair: float | None
    memory: int


class _StepTimes:
    """A few real steps for each kind of training; cells that differ in their pairs only share them."""

    def __init__(self, config: StudyConfig, data: Mapping[str, StudyData], screen: Screen) -> None:
        self._config, self._data, self._screen = config, data, screen
        self._known: dict[str, _PairCost] = {}

    def of(self, cell: Cell) -> _PairCost:
        training: Any = cell.config.training
        kind = training.model_dump_json()
        if kind not in self._known:
            self._known[kind] = self._measure(cell)
        return self._known[kind]

    def _measure(self, cell: Cell) -> _PairCost:
        from spavl.training.dry_run.estimate import estimate_training  # needs torch

        assert cell.config.training is not None
        data = self._data[cell.config.selection.source]
        pairs = select_pairs(data, cell.config.selection, cell.config.seed)
        found = estimate_training(
            cell.config.training,
            pairs,
            data.run.blobs.get,
            cell.config.seed,
            self._screen,
            self._config.trust_remote_code,
        )
        speed = found.speed
        per_pair = (speed.preparing + speed.training) / max(1, len(pairs)) if speed else None
        return _PairCost(per_pair, found.memory.bytes_needed)
