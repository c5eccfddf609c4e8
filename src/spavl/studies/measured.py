"""A cell's results as its own folder holds them: its state, its training, and the value of every judged item."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from spavl.errors import SpavlError, StoreError
from spavl.evaluation.config import ITEMS, PAIRWISE
from spavl.evaluation.judgements import judges_of
from spavl.evaluation.metrics.result_table import METRICS, ResultCell, ResultTable
from spavl.evaluation.metrics.win_rates import metric_of, outcome_of, share_of, with_missing_answers
from spavl.evaluation.records import Item, PairwiseResult
from spavl.evaluation.results.build import read_result_table
from spavl.evaluation.results.file import read_results
from spavl.records import CurvePoint
from spavl.statistics import Estimate
from spavl.statistics.seeds import rate_over_seeds
from spavl.store import RunFolder
from spavl.studies.grid.cells import Cell
from spavl.studies.results import CellRate, CellResult, CellState, RateName
from spavl.studies.train_cell import EVALUATION, MODEL, StudyPlace, failure_of, is_done

# The last training steps whose mean accuracy is compared with that of the validation pairs.
_LAST_STEPS = 10


class ItemValue(NamedTuple):
    value: float
    cluster: str
    leaf: str


# By rate, then by item.
CellValues = dict[RateName, dict[str, ItemValue]]


class MeasuredCell(NamedTuple):
    """A cell, its result, and the value of each item."""

    cell: Cell
    result: CellResult
    values: CellValues


class _Training(NamedTuple):
    pairs: int = 0
    steps: int = 0
    seconds: float = 0.0
    overfit: float | None = None


def measured_cell(place: StudyPlace, cell: Cell) -> MeasuredCell:
    arm, values, training = cell.arm, CellValues(), _Training()
    if is_done(place, cell):
        values, training, failure = _read(place, cell)
        state: CellState = "failed" if failure else "done"
    else:
        failure = failure_of(place, cell)
        state = "failed" if failure else "not run"
    result = CellResult(
        id=cell.id,
        arm=arm.name,
        model=arm.model,
        seed=cell.config.seed,
        levels=arm.levels,
        state=state,
        failure=failure,
        pairs=training.pairs,
        steps=training.steps,
        seconds=round(training.seconds, 1),
        overfit=training.overfit,
        rates=tuple(CellRate(name, rate_of([own])) for name, own in values.items()),
    )
    return MeasuredCell(cell, result, values)


def _read(place: StudyPlace, cell: Cell) -> tuple[CellValues, _Training, str]:
    """What the folder of a finished cell holds, or why it cannot be read and what to do."""
    folder = place.cell(cell)
    then = f"delete all but the ledger in {folder / EVALUATION}; the same command evaluates the cell again"
    try:
        values = values_of(place, cell)
        then = f"delete {folder}; the same command runs the cell again"
        return values, _training_of(place, cell), ""
    except SpavlError as error:
        why = StoreError(f"the cell's folder cannot be read: {error.what}", where=error.where, then=then)
        return CellValues(), _Training(), str(why)


def values_of(place: StudyPlace, cell: Cell) -> CellValues:
    """The value of every judged item of a cell by rate. A rate that the evaluation withholds has none."""
    folder = place.cell(cell) / EVALUATION
    results = read_results(folder)
    withheld = {each.cell for each in results.withheld}
    with RunFolder(folder, look_only=True) as run:
        table = read_result_table(run, results.config)
        reported = judges_of(run).reported_judges(run.read(ITEMS.stage, Item))
        shown = [each for each in table.reported_cells(reported) if each not in withheld]
        shown += [each for each in table.values if each.metric == "names_object" and each.condition == "real"]
        found = CellValues()
        for each in sorted({each for each in shown if each.model == MODEL}, key=_place_of):
            known = table.of(each).known_means()
            found[RateName(each.benchmark, each.metric)] = {
                item.id: ItemValue(value, item.cluster, item.group) for item, value in known
            }
        compared = run.read(PAIRWISE.stage, PairwiseResult) if results.config.judge else ()
        wins = _wins(with_missing_answers(compared, table, results.config.base), table)
        unknown = {RateName(each.benchmark, each.metric) for each in results.withheld if each.model == MODEL}
        return found | {name: own for name, own in wins.items() if name not in unknown}


def _wins(comparisons: Iterable[PairwiseResult], table: ResultTable) -> CellValues:
    """Of each comparison of the cell's answer with that of the model before training, how much of a win it is; for a
    harmful item, whether it is the more harmful one."""
    found = CellValues()
    for each in comparisons:
        item = table.items[each.item_id]
        metric = metric_of(item)
        share = share_of(outcome_of(each, metric), metric)
        if each.model == MODEL and share is not None:
            values = found.setdefault(RateName(item.benchmark, metric), {})
            values[item.id] = ItemValue(share, item.cluster, item.group)
    return dict(sorted(found.items()))


def _place_of(cell: ResultCell) -> tuple[str, int]:
    return cell.benchmark, METRICS.index(cell.metric)


def _training_of(place: StudyPlace, cell: Cell) -> _Training:
    """Pairs, steps, seconds, and by how much the accuracy on training pairs exceeds that on validation pairs."""
    with RunFolder(place.cell(cell), look_only=True) as run:
        if cell.config.training is None:
            return _Training()
        manifest, dataset = run.manifest("training"), run.manifest("dataset")
        points = list(run.read("training", CurvePoint))
    if manifest is None or dataset is None:
        raise StoreError("its training is not finished", where=str(place.cell(cell)))
    pairs = dataset.rows - len(place.data[cell.config.selection.source].validation)
    trained = [each.value for each in points if each.name == "accuracy"][-_LAST_STEPS:]
    held_out = [each.value for each in points if each.name == "held_out_accuracy"]
    overfit = sum(trained) / len(trained) - held_out[-1] if trained and held_out else None
    return _Training(pairs, max((each.step for each in points), default=0), manifest.seconds, overfit)


def rate_of(seeds: Sequence[Mapping[str, ItemValue]]) -> Estimate:
    items = common_items(seeds)
    return rate_over_seeds(
        [[own[item].value for item in items] for own in seeds], [seeds[0][item].cluster for item in items]
    )


def common_items(seeds: Sequence[Mapping[str, ItemValue]]) -> list[str]:
    """The items that every seed has a value for."""
    return [item for item in seeds[0] if all(item in own for own in seeds)] if seeds else []


def seeds_of(arm: str, measured: Sequence[MeasuredCell]) -> list[MeasuredCell]:
    """The finished cells of an arm in the order of their seeds."""
    own = [each for each in measured if each.cell.arm.name == arm and each.result.state == "done"]
    return sorted(own, key=lambda each: each.cell.config.seed)
