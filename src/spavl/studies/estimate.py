"""What a study will take, before it starts: its cells, their pairs, measured steps and memory, and calls of models."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from spavl.errors import SpavlError
from spavl.store import manifests_in
from spavl.studies.checks import check_study
from spavl.studies.config import StudyConfig
from spavl.studies.data import StudyData, data_by_name, open_data
from spavl.studies.grid.arms import grid_of
from spavl.studies.grid.cells import Cell, cells_of_arms, cells_to_run
from spavl.studies.selection import select_pairs
from spavl.studies.train_cell import EVALUATION, StudyPlace, is_done
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
    # By stage of the evaluation: the calls of a cell that is trained.
    calls_of_cell: Mapping[str, int]
    # The mean of the cells whose evaluation is finished; None if there are none.
    evaluation_seconds: float | None
    warnings: Sequence[str]

    @property
    def cells_left(self) -> Sequence[CellEstimate]:
        return [each for each in self.cells if not each.is_done]


async def estimate_study(config: StudyConfig, out: Path, screen: Screen) -> StudyEstimate:
    """Nothing is written: data that must be imported are imported into a folder that is deleted afterwards."""
    with (
        TemporaryDirectory(prefix="spavl-") as temporary,
        open_data(data_by_name(config.data), out, screen, Path(temporary)) as data,
    ):
        grid, place = grid_of(config, data), StudyPlace(out, config, data)
        cells = cells_to_run(cells_of_arms(grid.arms, config.seeds, data))
        calls = await check_study(place)
        steps = _StepTimes(config, data, screen)
        estimates = [_estimate(place, cell, steps) for cell in cells]
        seconds = list(_evaluation_seconds(place, estimates))
        return StudyEstimate(config, estimates, calls, mean(seconds) if seconds else None, grid.warnings)


def _evaluation_seconds(place: StudyPlace, cells: Iterable[CellEstimate]) -> Iterator[float]:
    """Of each finished evaluation that can be read, the seconds of its stages."""
    for each in cells:
        if each.is_done:
            with contextlib.suppress(SpavlError):
                yield sum(manifest.seconds for manifest in manifests_in(place.cell(each.cell) / EVALUATION))


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
