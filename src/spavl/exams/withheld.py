"""Rates that are withheld: too many of their answers are not known. All other rates are sound and are reported."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spavl.errors import GateError
from spavl.exams.answers import ALWAYS
from spavl.exams.contests import Contest
from spavl.exams.figures import Figure
from spavl.exams.sheet import Sheet
from spavl.judges.words import LISTS
from spavl.statistics import too_many_unknown

# Why nothing is known of an answer, and what to do: rules and lists of words have a word on all that come.
_NOT_JUDGED = (
    "answers could not be judged",
    "look at the column `raw` of tables/marks.parquet; name another --guard, or, if they are empty, raise --max-tokens",
)
_NEVER_CAME = "answers never came", "look at what the server said, in tables/answers.rejects.parquet"
_BLOCKED = "bouts could not be judged", "look at the column `votes` of tables/bouts.parquet; name another --judge"
_BOUNDS = "report bounds with --most-invalid 1"
# Where a rate would stand, as in a `Cell`; bouts have no cell.
Place = tuple[str, str, str, str, str]
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
    then: str

    @property
    def place(self) -> Place:
        return self.model, self.condition, self.benchmark, self.judge, self.told

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def withheld_figures(figures: Iterable[Figure], most: float) -> Iterator[WithheldRate]:
    """Of each tested model, by each judge, as a benchmark means to be asked: rates of too few answers with a verdict.

    Under another condition what is not known widens the interval alone.
    """
    for figure in figures:
        cell = figure.cell
        asked_as_meant = figure.part == "all" and cell.condition == "real" and cell.model not in ALWAYS
        if asked_as_meant and too_many_unknown(figure.unknown, figure.asked, most):
            by_words = cell.told in ("right", "unread") or cell.judge in LISTS
            why, then = _NEVER_CAME if by_words else _NOT_JUDGED
            yield WithheldRate(
                **cell._asdict(),
                asked=figure.asked,
                unknown=figure.unknown,
                low=figure.micro.low,
                high=figure.micro.high,
                why=f"{figure.unknown} of {figure.asked} {why}",
                then=then,
            )


def withheld_contests(contests: Iterable[Contest], judge: str, most: float) -> Iterator[WithheldRate]:
    for contest in contests:
        blocked, whole = contest.outcomes["blocked"], sum(contest.outcomes.values())
        if contest.model not in ALWAYS and too_many_unknown(blocked, whole, most):
            why, then = _BLOCKED
            yield WithheldRate(
                model=contest.model,
                condition="real",
                benchmark=contest.benchmark,
                judge=judge,
                told=contest.told,
                asked=whole,
                unknown=blocked,
                low=contest.rate.low,
                high=contest.rate.high,
                why=f"{blocked} of {whole} {why}",
                then=then,
            )


def without_withheld(sheet: Sheet, withheld: Iterable[WithheldRate]) -> Sheet:
    """What is left to tell: nothing that is made of a withheld rate's answers by its judge."""
    gone = {each.place for each in withheld}
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
    more = [f"and {len(lines) - _MOST_NAMED} more, all in results.json"] if len(lines) > _MOST_NAMED else []
    return GateError(
        f"withheld, for more than {most:.0%} of their answers are not known, are {len(withheld)} rates; "
        "all others are reported",
        where="\n         ".join([*lines[:_MOST_NAMED], *more]),
        then=f"{'; '.join(_distinct(each['then'] for each in withheld))}; or {_BOUNDS}",
    )


def _distinct(texts: Iterable[str]) -> Collection[str]:
    return dict.fromkeys(texts)
