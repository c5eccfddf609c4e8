"""What alignment changed: rates before and after, their p values, and how often the later answer is more helpful."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from spavl.evaluation.answers import all_asked
from spavl.evaluation.before_after.config import AFTER, ARMS, BEFORE, BeforeAfterConfig, of_answers
from spavl.evaluation.before_after.items import HELD_OUT_IMAGES, HELD_OUT_LEAVES
from spavl.evaluation.conditions import inputs_of
from spavl.evaluation.config import ANSWERS, ITEMS, JUDGEMENTS, PAIRWISE, Condition
from spavl.evaluation.judge_assignment import JudgeAssignment
from spavl.evaluation.judgements import NAMES, judges_of
from spavl.evaluation.metrics.degenerate_answers import DegenerateCounts, degenerate_answers
from spavl.evaluation.metrics.paired import pairs_of
from spavl.evaluation.metrics.rates import rate, rate_metrics_of
from spavl.evaluation.metrics.result_table import Metric, ResultCell, ResultTable, result_table_of
from spavl.evaluation.metrics.win_rates import WinRate, win_rates_of, with_missing_answers
from spavl.evaluation.metrics.withheld import (
    WithheldRate,
    undecided_reasons,
    with_reasons,
    withheld_rates,
    withheld_win_rates,
)
from spavl.evaluation.notes import PairwiseNotes
from spavl.evaluation.records import Answer, Item, Judgement, PairwiseResult
from spavl.records import Outcome
from spavl.statistics import Estimate, win_rate
from spavl.store import RunFolder
from spavl.text.degenerate import DEGENERATE_KINDS

BLANK_IMAGE = "blank_image"
# The sets of questions, each a benchmark asked under a condition.
QUESTION_SETS: dict[str, tuple[str, Condition]] = {
    HELD_OUT_IMAGES: (HELD_OUT_IMAGES, "real"),
    HELD_OUT_LEAVES: (HELD_OUT_LEAVES, "real"),
    BLANK_IMAGE: (HELD_OUT_IMAGES, "blank"),
}
# The rates by the names that they have in summary.json.
RATES: dict[str, Metric] = {"unsafe_rate": "unsafe", "over_refusal": "over_refusal", "names_the_object": "names_object"}
_WIN_RATE = "help win rate"


class JudgedAnswer(NamedTuple):
    """An answer to a question about a held-out image. A value is None if it could not be judged."""

    item: Item
    model: str
    text: str
    unsafe: bool | None
    refused: bool | None
    names_object: bool | None

    @property
    def is_harmful(self) -> bool:
        """Whether the question asks for harm."""
        return self.item.wants == "refuse"


class EvaluationTables(NamedTuple):
    """The rows that the stages of an evaluation wrote."""

    items: Mapping[str, Item]
    answers: Sequence[Answer]
    judgements: Sequence[Judgement]
    # None: the answers are not compared.
    comparisons: Sequence[PairwiseResult] | None
    judges: JudgeAssignment
    judge: str


class BeforeAfterResults(NamedTuple):
    guard: str
    judge: str
    # By set of questions, rate and model.
    rates: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    # Of the questions about held-out images, by rate.
    p_values: Mapping[str, float]
    help_win_rate: Estimate
    outcomes: Mapping[Outcome, int]
    # The rates that are withheld because too many answers have no verdict; only their bounds are reported.
    withheld: tuple[str, ...]
    # By model, the counts of degenerate answers.
    degenerate: Mapping[str, Mapping[str, int]]
    answers: tuple[JudgedAnswer, ...]

    def as_json(self) -> dict[str, Any]:
        """The content of summary.json, with the rates of held-out images at the top level."""
        sets = {
            name: {of: {arm: each.as_json() for arm, each in arms.items()} for of, arms in rates.items()}
            for name, rates in self.rates.items()
        }
        return {
            **sets.pop(HELD_OUT_IMAGES),
            **sets,
            "p_values": dict(self.p_values),
            **({"help_win_rate": self.help_win_rate.as_json()} if self.judge else {}),
            "withheld": list(self.withheld),
        }


def read_tables(run: RunFolder) -> EvaluationTables:
    compared = run.manifest(PAIRWISE.stage)
    return EvaluationTables(
        items={item.id: item for item in run.read(ITEMS.stage, Item)},
        answers=list(run.read(ANSWERS.stage, Answer)),
        judgements=list(run.read(JUDGEMENTS.stage, Judgement)),
        comparisons=list(run.read(PAIRWISE.stage, PairwiseResult)) if compared else None,
        judges=judges_of(run),
        judge=PairwiseNotes.of(compared).judge if compared else "",
    )


def results_of(tables: EvaluationTables, config: BeforeAfterConfig, seed: int) -> BeforeAfterResults:
    """The results of a build whose evaluation is done up to its judgements, or to its comparisons."""
    judges = tables.judges
    table = _table(tables, config, seed)
    guard = next(iter(judges.guards.values()))
    withheld = list(_withheld(tables, table, config.max_invalid))
    gone = {each.cell for each in withheld}
    won, blocked = _win_rate(tables, table, config.max_invalid)
    return BeforeAfterResults(
        guard=guard,
        judge=tables.judge,
        rates={name: dict(_rates(table, place, guard, gone)) for name, place in QUESTION_SETS.items()},
        p_values=_p_values(table, judges, gone),
        help_win_rate=_without_value(won.rate, bool(blocked)) if won else win_rate([], []),
        outcomes=won.outcomes if won else {},
        withheld=(*(_withheld_line(each) for each in withheld), *(f"{_WIN_RATE}: {each.why}" for each in blocked)),
        degenerate=_degenerate(tables),
        answers=tuple(_answers(tables, guard)),
    )


def _table(tables: EvaluationTables, config: BeforeAfterConfig, seed: int) -> ResultTable:
    """The table of every expected answer and its judgements."""
    items = tables.items
    asked: dict[tuple[str, str, str], Counter[str]] = {}
    for each in all_asked(items.values(), inputs_of(list(items.values()), seed), of_answers(config)):
        for arm in ARMS:
            asked.setdefault((arm, each.condition, items[each.item_id].benchmark), Counter())[each.item_id] += 1
    return result_table_of(items, asked, tables.judgements, tables.judges.covers, {})


def _rates(
    table: ResultTable, place: tuple[str, Condition], guard: str, gone: set[ResultCell]
) -> Iterator[tuple[str, dict[str, Estimate]]]:
    benchmark, condition = place
    for name, metric in RATES.items():
        judge = NAMES if metric == "names_object" else guard
        cells = {arm: ResultCell(arm, condition, benchmark, judge, metric) for arm in ARMS}
        yield name, {arm: _without_value(rate(table.of(cell)), cell in gone) for arm, cell in cells.items()}


def _without_value(estimate: Estimate, is_withheld: bool) -> Estimate:
    return estimate._replace(value=math.nan) if is_withheld else estimate


def _withheld(tables: EvaluationTables, table: ResultTable, most: float) -> Iterator[WithheldRate]:
    guards = tables.judges.guards.values()
    metrics = (each for each in rate_metrics_of(table) if each.cell.metric in ("unsafe", "over_refusal"))
    by_guard = (each for each in metrics if each.cell.judge in guards)
    return with_reasons(withheld_rates(by_guard, most), table, tables.answers, guards)


def _withheld_line(withheld: WithheldRate) -> str:
    names = {metric: name.replace("_", " ") for name, metric in RATES.items()}
    return f"{names[withheld.cell.metric]} {withheld.model}, {withheld.benchmark.replace('_', ' ')}: {withheld.why}"


def _p_values(table: ResultTable, judges: JudgeAssignment, gone: set[ResultCell]) -> dict[str, float]:
    names = {metric: name for name, metric in RATES.items()}
    return {
        names[pair.cell.metric]: pair.p
        for pair in pairs_of(table, [AFTER], BEFORE, judges.reported_judges(table.items.values()))
        if pair.cell.benchmark == HELD_OUT_IMAGES and not {pair.cell, pair.cell._replace(model=BEFORE)} & gone
    }


def _win_rate(
    tables: EvaluationTables, table: ResultTable, most: float
) -> tuple[WinRate | None, Sequence[WithheldRate]]:
    """The win rate on the harmless questions about held-out images, and why it is withheld if it is."""
    if tables.comparisons is None:
        return None, ()
    texts = {(each.model, each.item_id): each.text for each in tables.answers if each.condition == "real"}
    made = list(with_missing_answers(tables.comparisons, table, BEFORE))
    rates = list(win_rates_of(made, tables.items, texts))
    blocked = withheld_win_rates(rates, tables.judge, most, undecided_reasons(made, tables.items, texts))
    return next(iter(rates), None), list(blocked)


def _degenerate(tables: EvaluationTables) -> dict[str, dict[str, int]]:
    """By model: the number of degenerate answers, of each kind of them, and of all answers."""
    found = degenerate_answers(tables.answers, tables.items)
    return {arm: _counts([each for each in found if each.model == arm]) for arm in ARMS}


def _counts(own: Sequence[DegenerateCounts]) -> dict[str, int]:
    kinds: dict[str, int] = {kind: sum(each.kinds.get(kind, 0) for each in own) for kind in DEGENERATE_KINDS}
    return {"degenerate": sum(each.degenerate for each in own), **kinds, "answers": sum(each.answers for each in own)}


def _answers(tables: EvaluationTables, guard: str) -> Iterator[JudgedAnswer]:
    verdicts: dict[str, dict[str, float | None]] = {}
    for each in tables.judgements:
        if each.judge in (guard, NAMES):
            verdicts.setdefault(each.answer_id, {})[each.measure] = each.value
    for answer in tables.answers:
        item = tables.items[answer.item_id]
        if item.benchmark == HELD_OUT_IMAGES and answer.condition == "real":
            own = verdicts.get(answer.id, {})
            unsafe, refused, names = (_yes(own.get(measure)) for measure in ("unsafe", "refused", "names"))
            yield JudgedAnswer(item, answer.model, answer.text, unsafe, None if unsafe is None else refused, names)


def _yes(value: float | None) -> bool | None:
    return None if value is None else value == 1
