"""Rates that are withheld, because too many of their answers are unknown. All other rates are reported."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from spavl.errors import GateError
from spavl.evaluation.answers import BASELINES
from spavl.evaluation.metrics.rates import RateMetric
from spavl.evaluation.metrics.result_table import Metric, ResultCell, ResultTable
from spavl.evaluation.metrics.win_rates import PairwiseMetric, WinRate, metric_of, outcome_of
from spavl.evaluation.pairwise import REFERENCE
from spavl.evaluation.records import Answer, Item, PairwiseResult
from spavl.statistics import too_many_unknown
from spavl.text.degenerate import is_empty

# Why an answer is unknown.
_State = Literal["never came", "came empty", "could not be judged"]
_STATES: tuple[_State, ...] = get_args(_State)
_NEVER_CAME = "look at the server's errors, in tables/answers.rejects.parquet"
_EMPTY = (
    "no judge can help with empty answers: look at their `finish` in tables/answers.parquet and raise --max-tokens, "
    "or that of a reasoning model in model_settings"
)
_NOT_JUDGED = "look at the column `raw` of tables/judgements.parquet and name another {}"
_BLOCKED = "look at the column `votes` of tables/pairwise.parquet and name another --judge"
_BOUNDS = "report bounds with --max-invalid 1"
# The most rates that a message names; all of them are in results.json.
_MOST_NAMED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class WithheldRate:
    """A withheld rate of a whole benchmark. It is between `low` and `high`, whatever the unknown answers are."""

    model: str
    condition: str
    benchmark: str
    judge: str
    metric: Metric | PairwiseMetric
    asked: int
    unknown: int
    low: float
    high: float
    why: str
    # What to do; several steps are separated by "; ".
    then: str

    @property
    def cell(self) -> ResultCell:
        return ResultCell(self.model, self.condition, self.benchmark, self.judge, cast(Metric, self.metric))

    @property
    def place(self) -> str:
        return f"{self.model} at {self.benchmark}, judged by {self.judge}"


def withheld_rates(rates: Iterable[RateMetric], most: float) -> Iterator[WithheldRate]:
    """The rates of tested models on whole benchmarks, under the condition `real`, with too many unknown answers.

    Under another condition, unknown answers only widen the interval.
    """
    for rate in rates:
        cell = rate.cell
        asked_as_meant = rate.part == "all" and cell.condition == "real" and cell.model not in BASELINES
        if asked_as_meant and too_many_unknown(rate.unknown, rate.asked, most):
            yield WithheldRate(
                **cell._asdict(),
                asked=rate.asked,
                unknown=rate.unknown,
                low=rate.micro.low,
                high=rate.micro.high,
                why=f"{rate.unknown} of {rate.asked} answers are not known",
                then="",
            )


def with_reasons(
    withheld: Iterable[WithheldRate], table: ResultTable, answers: Iterable[Answer], guards: Collection[str]
) -> Iterator[WithheldRate]:
    """Each rate with the reason why its answers are unknown. `guards` are the judges given by --guard."""
    empty = {(each.model, each.condition, each.item_id, each.sample): is_empty(each.text) for each in answers}

    def state(rate: WithheldRate, item: Item, sample: int) -> _State:
        is_empty_answer = empty.get((rate.model, rate.condition, item.id, sample))
        return "never came" if is_empty_answer is None else "came empty" if is_empty_answer else "could not be judged"

    for rate in withheld:
        column = table.of(rate.cell)
        states = Counter(
            state(rate, item, sample)
            for item, values in zip(column.items, column.values, strict=True)
            for sample, value in enumerate(values)
            if value is None
        )
        judged = _NOT_JUDGED.format("--guard" if rate.judge in guards else "--judge")
        steps = dict(zip(_STATES, (_NEVER_CAME, _EMPTY, judged), strict=True))
        then = "; ".join(steps[each] for each in _STATES if states[each])
        yield replace(rate, why=_why(rate.asked, "answers", states), then=then)


def _why(asked: int, what: str, states: Counter[_State]) -> str:
    counts = [(states[each], each) for each in _STATES if states[each]]
    if len(counts) == 1:
        return f"{counts[0][0]} of {asked} {what} {counts[0][1]}"
    each = ", ".join(f"{number} {state}" for number, state in counts)
    return f"{states.total()} of {asked} {what} are not known: {each}"


def undecided_reasons(
    comparisons: Iterable[PairwiseResult], items: Mapping[str, Item], texts: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str, str, PairwiseMetric], Counter[_State]]:
    """Why comparisons have no outcome, by both models, benchmark and metric. `texts` are the answers that came."""
    found: dict[tuple[str, str, str, PairwiseMetric], Counter[_State]] = {}
    for comparison in comparisons:
        item = items[comparison.item_id]
        if outcome_of(comparison, metric := metric_of(item)) == "blocked":
            sides = [comparison.model] if comparison.against == REFERENCE else [comparison.model, comparison.against]
            answers = [texts.get((name, comparison.item_id)) for name in sides]
            empty = any(text is not None and is_empty(text) for text in answers)
            state: _State = "never came" if None in answers else "came empty" if empty else "could not be judged"
            found.setdefault((comparison.model, comparison.against, item.benchmark, metric), Counter())[state] += 1
    return found


def withheld_win_rates(
    win_rates: Iterable[WinRate],
    judge: str,
    most: float,
    undecided: Mapping[tuple[str, str, str, PairwiseMetric], Counter[_State]],
) -> Iterator[WithheldRate]:
    for win_rate in win_rates:
        blocked, whole = win_rate.blocked_count, sum(win_rate.outcomes.values())
        if win_rate.model not in BASELINES and too_many_unknown(blocked, whole, most):
            states = undecided[win_rate.model, win_rate.against, win_rate.benchmark, win_rate.metric]
            steps = dict(zip(_STATES, (_NEVER_CAME, _EMPTY, _BLOCKED), strict=True))
            why = _why(whole, "comparisons", states)
            yield WithheldRate(
                model=win_rate.model,
                condition="real",
                benchmark=win_rate.benchmark,
                judge=judge,
                metric=win_rate.metric,
                asked=whole,
                unknown=blocked,
                low=win_rate.rate.low,
                high=win_rate.rate.high,
                why=why.replace("came empty", "have an empty answer").replace("never came", "lack an answer"),
                then="; ".join(steps[each] for each in _STATES if states[each]),
            )


def without_withheld(table: ResultTable, withheld: Iterable[WithheldRate]) -> ResultTable:
    """The table without the cells of withheld rates, so that no metric is computed from them."""
    gone = {each.cell for each in withheld}
    return table._replace(values={cell: values for cell, values in table.values.items() if cell not in gone})


def gate_error(withheld: Sequence[WithheldRate], most: float) -> GateError:
    """The error whose message names all rates that are withheld."""
    bounds: dict[tuple[str, str], list[str]] = {}
    for each in withheld:
        bounds.setdefault((each.place, each.why), []).append(
            f"{each.metric.replace('_', ' ')}: anything from {each.low:.1%} to {each.high:.1%}"
        )
    lines = [f"{place}: {why} ({'; '.join(rates)})" for (place, why), rates in bounds.items()]
    rates = "1 rate is withheld" if len(withheld) == 1 else f"{len(withheld)} rates are withheld"
    more = [f"and {len(lines) - _MOST_NAMED} more, all in results.json"] if len(lines) > _MOST_NAMED else []
    return GateError(
        f"{rates}, for more than {most:.0%} of {'its' if len(withheld) == 1 else 'their'} answers are not known; "
        "all others are reported",
        then="\n".join(
            [
                f"{'; '.join(_distinct(step for each in withheld for step in each.then.split('; ')))}; or {_BOUNDS}",
                "withheld:",
                *lines[:_MOST_NAMED],
                *more,
            ]
        ),
    )


def _distinct(texts: Iterable[str]) -> Collection[str]:
    return dict.fromkeys(texts)
