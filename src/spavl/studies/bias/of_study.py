"""The tables of a study of bias: its data set, its shortcuts, and what training did to each group."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from spavl.studies.bias.balancing_effect import balancing_effect
from spavl.studies.bias.outputs import EvaluatedItems, output_bias, read_items
from spavl.studies.bias.shares import data_bias, image_sources
from spavl.studies.bias.tables import BiasTable, data_tables, output_tables, shortcut_table
from spavl.studies.grid.cells import Cell
from spavl.studies.measured import MeasuredCell
from spavl.studies.train_cell import EVALUATION, MODEL, StudyPlace


def bias_tables(place: StudyPlace, measured: Sequence[MeasuredCell]) -> Iterator[BiasTable]:
    """The data set as a whole, and of each model its first trained arm beside it before training, of one seed."""
    data = place.data[""]
    yield from data_tables(data_bias(data.pairs, image_sources(data.run)))
    yield shortcut_table(balancing_effect(data.pairs, data.run.blobs.get, place.config.seeds[0]))
    for model in place.config.model:
        done = [each.cell for each in measured if each.result.state == "done" and each.cell.config.model == model]
        base = next((cell for cell in done if cell.config.training is None), None)
        trained = next((cell for cell in done if cell.config.training is not None), None)
        if base and trained:
            before, after = (_items_of(place, cell, base) for cell in (base, trained))
            note = f"Of “{trained.title}” and “{base.title}”."
            for table in output_tables(output_bias(before, base.arm.name, after, trained.arm.name)):
                yield table._replace(notes=(note, *table.notes))


def _items_of(place: StudyPlace, cell: Cell, base: Cell) -> EvaluatedItems:
    """The items of a cell's evaluation, with its model by the name of its arm. All cells have one name for it there."""
    items = read_items(place.cell(cell) / EVALUATION)
    name, table = cell.arm.name, items.table
    own = {each._replace(model=name): found for each, found in table.values.items() if each.model == MODEL}
    asked = {(name, *key[1:]): found for key, found in table.asked.items() if key[0] == MODEL}
    compared = [replace(each, model=name, against=base.arm.name) for each in items.comparisons if each.model == MODEL]
    return items._replace(table=table._replace(values=own, asked=asked), comparisons=compared)
