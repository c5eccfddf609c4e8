"""The cells of a study: every arm with every seed, each with all settings that its weights depend on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from spavl.config import settings_to_hash
from spavl.records import content_hash
from spavl.studies.config import BASE, CellConfig, PairSelection, StudyConfig
from spavl.studies.data import StudyData
from spavl.studies.grid.arms import Arm, grid_of


@dataclass(frozen=True)
class Cell:
    """An arm with one seed."""

    arm: Arm
    config: CellConfig
    # The hash of the data set's rows.
    content: str
    # The cell whose trained model it begins with.
    parent: "Cell | None" = None

    @cached_property
    def id(self) -> str:
        """The name of its folder: a hash of all that its weights depend on."""
        return content_hash([settings_to_hash(self.config), self.content])[:16]

    @property
    def title(self) -> str:
        return f"{self.arm.name}, seed {self.config.seed}" if self.config.training else self.arm.name


def cells_of(config: StudyConfig, data: Mapping[str, StudyData]) -> list[Cell]:
    return cells_of_arms(grid_of(config, data).arms, config.seeds, data)


def cells_of_arms(arms: Sequence[Arm], seeds: Iterable[int], data: Mapping[str, StudyData]) -> list[Cell]:
    """Seed by seed, so that a study that is stopped has each arm with its first seeds. Cells of arms that are the same
    have one id, and so one folder."""
    found: dict[tuple[str, int], Cell] = {}
    for seed in seeds:
        for arm in arms:
            cell = _cell(arm, seed, data, found.get((arm.after, seed)))
            found[arm.name, cell.config.seed] = cell
    return list(found.values())


def cells_to_run(cells: Iterable[Cell]) -> list[Cell]:
    """One cell of each folder."""
    return list({cell.id: cell for cell in cells}.values())


def _cell(arm: Arm, seed: int, data: Mapping[str, StudyData], parent: Cell | None) -> Cell:
    config = CellConfig(
        model=arm.model,
        selection=arm.selection,
        training=arm.training,
        seed=seed if arm.training is not None else 0,
        after=parent.id if parent else "",
    )
    return Cell(arm, config, _content(data[arm.selection.source], arm.selection), parent)


def _content(data: StudyData, selection: PairSelection) -> str:
    """The hash of the rows that pairs are selected from."""
    added = [each.id for reason in selection.add for each in data.left_out[reason]]
    return content_hash([data.content, *added]) if added else data.content


def untrained_cell(cell: Cell, data: Mapping[str, StudyData]) -> Cell:
    """The cell of the same model before any training."""
    config = CellConfig(model=cell.config.model, selection=PairSelection(), training=None, seed=0)
    return Cell(Arm(BASE, config.model, {}, config.selection, None), config, data[config.selection.source].content)
