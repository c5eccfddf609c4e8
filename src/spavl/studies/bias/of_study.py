"""The tables of a study of bias: its data set, its shortcuts, and what training did to each group."""

from collections.abc import Iterator, Sequence

from spavl.studies.bias.balancing_effect import balancing_effect
from spavl.studies.bias.outputs import EvaluatedItems, output_bias, read_items
from spavl.studies.bias.shares import data_bias, image_sources
from spavl.studies.bias.tables import BiasTable, data_tables, output_tables, shortcut_table
from spavl.studies.cells import Cell
from spavl.studies.measured import MeasuredCell
from spavl.studies.train_cell import EVALUATION, StudyPlace


def bias_tables(place: StudyPlace, measured: Sequence[MeasuredCell]) -> Iterator[BiasTable]:
    """The data set as a whole, and the first trained arm of the first seed beside the model before training."""
    data = place.data[""]
    yield from data_tables(data_bias(data.pairs, image_sources(data.run)))
    yield shortcut_table(balancing_effect(data.pairs, data.run.blobs.get, place.config.seeds[0]))
    done = [each.cell for each in measured if each.result.state == "done"]
    base = next((cell for cell in done if cell.config.training is None), None)
    trained = next((cell for cell in done if cell.config.training is not None), None)
    if base and trained:
        before, after = (_items_of(place, cell) for cell in (base, trained))
        yield from output_tables(output_bias(before, base.arm.name, after, trained.arm.name))


def _items_of(place: StudyPlace, cell: Cell) -> EvaluatedItems:
    """The items of a cell's evaluation, in which its model has the name that all cells have: here it is its arm's."""
    items = read_items(place.cell(cell) / EVALUATION)
    name, table = cell.arm.name, items.table
    values = {each._replace(model=name): own for each, own in table.values.items()}
    asked = {(name, condition, benchmark): own for (_, condition, benchmark), own in table.asked.items()}
    return items._replace(table=table._replace(values=values, asked=asked))
