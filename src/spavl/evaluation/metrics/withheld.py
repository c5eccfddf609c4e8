"""Rates that are withheld: too many of their answers are not known. All other rates are sound and are reported."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

from spavl.errors import GateError
from spavl.evaluation.answers import ALWAYS
from spavl.evaluation.metrics.rates import RateMetric
from spavl.evaluation.metrics.result_table import ResultCell, ResultTable, Told
from spavl.evaluation.metrics.win_rates import Kind, WinRate, kind_of, outcome_of
from spavl.evaluation.pairwise import REFERENCE
from spavl.evaluation.records import Answer, Item, PairwiseResult
from spavl.statistics import too_many_unknown
from spavl.text.degenerate import is_empty

# Why nothing is known of an answer.
_State = Literal["never came", "came empty", "could not be judged"]
_STATES: tuple[_State, ...] = get_args(_State)
_NEVER_CAME = "look at what the server said, in tables/answers.rejects.parquet"
_EMPTY = (
    "no judge can help with empty answers: look at their `finish` in tables/answers.parquet and raise --max-tokens, "
    "or that of a model that thinks in model_settings"
)
_NOT_JUDGED = "look at the column `raw` of tables/judgements.parquet and name another {}"
_BLOCKED = "look at the column `votes` of tables/comparisons.parquet and name another --judge"
_BOUNDS = "report bounds with --max-invalid 1"
# More are in results.json.
_MOST_NAMED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class WithheldRate:
    """One rate of a whole benchmark that is not told. It lies between `low` and `high`, whatever is not known."""

    model: str
    condition: str
    benchmark: str
    judge: str
    told: str
    asked: int
    unknown: int
    low: float
    high: float
    why: str
    # What to do; several things have "; " between them.
    then: str

    @property
    def cell(self) -> ResultCell:
        return ResultCell(self.model, self.condition, self.benchmark, self.judge, cast(Told, self.told))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def withheld_figures(figures: Iterable[RateMetric], most: float) -> Iterator[WithheldRate]:
    """Of each tested model, by each judge, as a benchmark means to be asked: rates of too few answers with a verdict.

    Under another condition what is not known widens the interval alone.
    """
    for figure in figures:
        cell = figure.cell
        asked_as_meant = figure.part == "all" and cell.condition == "real" and cell.model not in ALWAYS
        if asked_as_meant and too_many_unknown(figure.unknown, figure.asked, most):
            yield WithheldRate(
                **cell._asdict(),
                asked=figure.asked,
                unknown=figure.unknown,
                low=figure.micro.low,
                high=figure.micro.high,
                why=f"{figure.unknown} of {figure.asked} answers are not known",
                then="",
            )


def with_reasons(
    withheld: Iterable[WithheldRate], sheet: ResultTable, answers: Iterable[Answer], guards: Collection[str]
) -> Iterator[WithheldRate]:
    """Each with why its answers are not known, which the answers themselves tell. `guards` are judges by --guard."""
    empty = {(each.model, each.condition, each.item_id, each.sample): is_empty(each.text) for each in answers}

    def state(rate: WithheldRate, item: Item, sample: int) -> _State:
        nothing_said = empty.get((rate.model, rate.condition, item.id, sample))
        return "never came" if nothing_said is None else "came empty" if nothing_said else "could not be judged"

    for rate in withheld:
        column = sheet.of(rate.cell)
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
    told = [(states[each], each) for each in _STATES if states[each]]
    if len(told) == 1:
        return f"{told[0][0]} of {asked} {what} {told[0][1]}"
    each = ", ".join(f"{number} {state}" for number, state in told)
    return f"{states.total()} of {asked} {what} are not known: {each}"


def undecided(
    comparisons: Iterable[PairwiseResult], items: Mapping[str, Item], texts: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str, str, Kind], Counter[_State]]:
    """Why comparisons have no outcome, by both models, benchmark and share. `texts` are the answers that came."""
    found: dict[tuple[str, str, str, Kind], Counter[_State]] = {}
    for comparison in comparisons:
        item = items[comparison.item_id]
        if outcome_of(comparison, kind := kind_of(item)) == "blocked":
            sides = [comparison.model] if comparison.against == REFERENCE else [comparison.model, comparison.against]
            said = [texts.get((name, comparison.item_id)) for name in sides]
            nothing = any(text is not None and is_empty(text) for text in said)
            state: _State = "never came" if None in said else "came empty" if nothing else "could not be judged"
            found.setdefault((comparison.model, comparison.against, item.benchmark, kind), Counter())[state] += 1
    return found


def withheld_win_rates(
    win_rates: Iterable[WinRate],
    judge: str,
    most: float,
    undecided: Mapping[tuple[str, str, str, Kind], Counter[_State]],
) -> Iterator[WithheldRate]:
    for win_rate in win_rates:
        blocked, whole = win_rate.outcomes["blocked"], sum(win_rate.outcomes.values())
        if win_rate.model not in ALWAYS and too_many_unknown(blocked, whole, most):
            states = undecided[win_rate.model, win_rate.against, win_rate.benchmark, win_rate.told]
            steps = dict(zip(_STATES, (_NEVER_CAME, _EMPTY, _BLOCKED), strict=True))
            why = _why(whole, "comparisons", states)
            yield WithheldRate(
                model=win_rate.model,
                condition="real",
                benchmark=win_rate.benchmark,
                judge=judge,
                told=win_rate.told,
                asked=whole,
                unknown=blocked,
                low=win_rate.rate.low,
                high=win_rate.rate.high,
                why=why.replace("came empty", "have an empty answer").replace("never came", "lack an answer"),
                then="; ".join(steps[each] for each in _STATES if states[each]),
            )


def without_withheld(sheet: ResultTable, withheld: Iterable[WithheldRate]) -> ResultTable:
    """What is left to tell: nothing that is made of a withheld rate's answers by its judge."""
    gone = {each.cell for each in withheld}
    return sheet._replace(values={cell: said for cell, said in sheet.values.items() if cell not in gone})


def gate_error(withheld: Sequence[Mapping[str, Any]], most: float) -> GateError:
    """The one message that names all that is withheld, as results.json holds it."""
    told: dict[tuple[str, ...], list[str]] = {}
    for each in withheld:
        place = f"{each['model']} at {each['benchmark']}, judged by {each['judge']}"
        told.setdefault((place, each["why"]), []).append(
            f"{each['told'].replace('_', ' ')}: anything from {each['low']:.1%} to {each['high']:.1%}"
        )
    lines = [f"{place}: {why} ({'; '.join(rates)})" for (place, why), rates in told.items()]
    rates = "1 rate is withheld" if len(withheld) == 1 else f"{len(withheld)} rates are withheld"
    more = [f"and {len(lines) - _MOST_NAMED} more, all in results.json"] if len(lines) > _MOST_NAMED else []
    return GateError(
        f"{rates}, for more than {most:.0%} of {'its' if len(withheld) == 1 else 'their'} answers are not known; "
        "all others are reported",
        where="\n         ".join([*lines[:_MOST_NAMED], *more]),
        then=f"{'; '.join(_distinct(step for each in withheld for step in each['then'].split('; ')))}; or {_BOUNDS}",
    )


def _distinct(texts: Iterable[str]) -> Collection[str]:
    return dict.fromkeys(texts)
