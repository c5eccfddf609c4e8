"""The numbers of published protocols on the answers of this evaluation, with what their rules hide, beside spavl's own.

The paper's number stands beside them for reference. It is of another model unless the tested model is the paper's.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from spavl.evaluation.metrics.result_table import Metric, Reported, ResultCell, ResultTable
from spavl.evaluation.metrics.win_rates import WinRate
from spavl.evaluation.protocols.judging import against_of
from spavl.evaluation.protocols.paper_numbers import HUB_IDS
from spavl.evaluation.protocols.types import DROPPED, JudgeRule, PaperNumber, ProtocolMeasure, PublishedProtocol
from spavl.evaluation.records import Item, PublishedJudgement
from spavl.judges.registry import model_of
from spavl.statistics import Estimate, macro_of_samples, rate_of_samples, rate_with_unknown

# A number is of a whole benchmark, of one of its subsets, or of one group of one subset, as MM-SafetyBench's scenarios.
PublishedPart = Literal["all", "subset", "group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperValue:
    """A number of a paper, in per cent."""

    value: float
    model: str
    n: int
    source: str
    # Whether the tested model has the name that the paper's model has on the hub.
    is_same_model: bool


class OwnRate(NamedTuple):
    """Spavl's own rate of the same answers; None if there is none, or if it is withheld."""

    metric: str
    # The judge that it is by, or how it was compared.
    by: str
    rate: Estimate | None = None
    is_withheld: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RateAsPublished:
    """One number of a published protocol, for one model."""

    protocol: str
    measure: str
    title: str
    benchmark: str
    part: PublishedPart
    subset: str
    group: str
    model: str
    # The judge's name, down to its prompt; or the list of phrases.
    judge: str
    # The model that judged, if it is not the paper's judge; and the paper's judge.
    judged_by: str
    papers_judge: str
    # Whose answer is the other one of two; empty if answers are judged alone.
    against: str
    rate: Estimate
    # The answers that should have been judged; those that are missing or got no reply; those that the formula drops.
    asked: int
    unknown: int
    dropped: int
    # How often each reading came, and what the formula makes of those that it hides.
    readings: Mapping[str, int]
    hidden: Mapping[str, int]
    ours: OwnRate
    paper: PaperValue | None


class OwnResults(NamedTuple):
    """What spavl's own numbers are taken from."""

    table: ResultTable
    reported: Reported
    withheld: Container[ResultCell]
    win_rates: Sequence[WinRate]
    # The win rates that are withheld, by model, benchmark and metric.
    withheld_wins: Container[tuple[str, str, str]]
    base: str


class _RatePlace(NamedTuple):
    part: PublishedPart
    subset: str
    group: str
    items: list[Item]


def rates_as_published(
    protocols: Iterable[PublishedProtocol],
    judgements: Iterable[PublishedJudgement],
    own: OwnResults,
    uris: Mapping[str, str],
) -> Iterator[RateAsPublished]:
    """The numbers of every protocol, measure, benchmark and model. `uris` are those of the tested models by name."""
    found = {(each.protocol, each.measure, each.model, each.item_id): each for each in judgements}
    for protocol in protocols:
        for measure in protocol.measures:
            for benchmark, model, items in _items_asked(measure, own):
                rows = {
                    item.id: row for item in items if (row := found.get((protocol.name, measure.name, model, item.id)))
                }
                for place in _places(measure, items):
                    yield _rate(protocol, measure, benchmark, model, place, rows, own, uris.get(model, ""))


def _items_asked(measure: ProtocolMeasure, own: OwnResults) -> Iterator[tuple[str, str, list[Item]]]:
    """Each benchmark and model with the items whose answers the measure should judge, whether they came or not."""
    for (model, condition, benchmark), asked in own.table.asked.items():
        covered = [item for each in asked if measure.covers(item := own.table.items[each])]
        if measure.is_pairwise:
            covered = [item for item in covered if against_of(item, model, own.base)]
        if condition == "real" and covered:
            yield benchmark, model, covered


def _places(measure: ProtocolMeasure, items: Sequence[Item]) -> Iterator[_RatePlace]:
    by_subset: dict[str, list[Item]] = {}
    for item in items:
        by_subset.setdefault(item.subset, []).append(item)
    yield _RatePlace("all", next(iter(by_subset)) if len(by_subset) == 1 else "", "", list(items))
    if len(by_subset) > 1:
        yield from (_RatePlace("subset", name, "", own) for name, own in by_subset.items())
    if measure.is_mean_of_subsets:
        by_group: dict[tuple[str, str], list[Item]] = {}
        for item in items:
            by_group.setdefault((item.subset, item.group), []).append(item)
        yield from (_RatePlace("group", *names, own) for names, own in by_group.items())


def _rate(
    protocol: PublishedProtocol,
    measure: ProtocolMeasure,
    benchmark: str,
    model: str,
    place: _RatePlace,
    rows: Mapping[str, PublishedJudgement],
    own: OwnResults,
    uri: str,
) -> RateAsPublished:
    read = {item.id: rows[item.id] for item in place.items if item.id in rows}
    readings = Counter(row.reading for row in read.values())
    worth = {item.id: measure.worth.get(read[item.id].reading) if item.id in read else None for item in place.items}
    kept = [item for item in place.items if worth[item.id] != DROPPED]
    judges = sorted({row.judge for row in read.values()})
    against = sorted({row.against for row in read.values()})
    rule, name = measure.rule, judges[0] if judges else ""
    values: list[float | None] = [each if isinstance(each := worth[item.id], float) else None for item in kept]
    return RateAsPublished(
        protocol=protocol.name,
        measure=measure.name,
        title=measure.title,
        benchmark=benchmark,
        part=place.part,
        subset=place.subset,
        group=place.group,
        model=model,
        judge=name,
        judged_by=other_judge(name, rule.papers_judges) if isinstance(rule, JudgeRule) else "",
        papers_judge=rule.papers_judges[0] if isinstance(rule, JudgeRule) else "",
        against=", ".join(filter(None, against)),
        rate=_estimate(measure, place, kept, [(value,) for value in values]),
        asked=len(place.items),
        unknown=values.count(None),
        dropped=len(place.items) - len(kept),
        readings=dict(sorted(readings.items())),
        hidden={text: readings[reading] for reading, text in measure.hides.items() if readings[reading]},
        ours=_ours(measure, benchmark, model, place, own),
        paper=_paper(protocol.papers, measure.name, benchmark, place, uri),
    )


def _estimate(
    measure: ProtocolMeasure, place: _RatePlace, items: Sequence[Item], samples: Sequence[Sequence[float | None]]
) -> Estimate:
    """The mean over items, or over the subsets of a benchmark whose number is the mean of those of its subsets."""
    clusters, subsets = [item.cluster for item in items], [item.subset for item in items]
    if measure.is_mean_of_subsets and place.part == "all" and len(set(subsets)) > 1:
        return macro_of_samples(samples, subsets, clusters)
    if all(len(own) == 1 for own in samples):
        return rate_with_unknown([own[0] for own in samples], clusters)
    return rate_of_samples(samples, clusters)


def _ours(measure: ProtocolMeasure, benchmark: str, model: str, place: _RatePlace, own: OwnResults) -> OwnRate:
    """Spavl's own rate of the same items. A comparison is of the whole benchmark only."""
    if measure.is_pairwise:
        for each in own.win_rates if place.part == "all" else ():
            if (each.model, each.benchmark, each.metric) == (model, benchmark, measure.ours):
                return OwnRate(each.metric, f"against {each.against}, in both orders", each.rate)
        is_withheld = (model, benchmark, measure.ours) in own.withheld_wins
        return OwnRate(measure.ours, "", is_withheld=is_withheld)
    metric: Metric = measure.ours  # type: ignore[assignment]
    judge = own.reported.get(benchmark, {}).get(metric, "")
    cell = ResultCell(model, "real", benchmark, judge, metric)
    if cell in own.withheld:
        return OwnRate(metric, judge, is_withheld=True)
    ids = {item.id for item in place.items}
    whole = own.table.of(cell)
    column = whole.only(number for number, item in enumerate(whole.items) if item.id in ids)
    if not column.items or cell not in own.table.values:
        return OwnRate(metric, judge)
    return OwnRate(metric, judge, _estimate(measure, place, column.items, column.values))


def _paper(
    papers: Sequence[PaperNumber], measure: str, benchmark: str, place: _RatePlace, uri: str
) -> PaperValue | None:
    """The paper's number of the tested model, or else of its first model."""
    if place.part == "group":
        return None
    own = [each for each in papers if (each.measure, each.benchmark) == (measure, benchmark)]
    own = [each for each in own if each.subset == place.subset] or [
        each for each in own if place.part == "all" and not each.subset
    ]
    if not own:
        return None
    same = [each for each in own if is_model_of_paper(uri, each.model)]
    chosen = (same or own)[0]
    return PaperValue(
        value=chosen.value, model=chosen.model, n=chosen.n, source=chosen.source, is_same_model=bool(same)
    )


def is_model_of_paper(uri: str, model: str) -> bool:
    """Whether a tested model has exactly the name on the hub of a paper's model. A folder of that name is none."""
    kind, _, rest = uri.partition("/")
    name = rest.partition("@")[0].partition("#")[0]
    return kind in ("hf", "openai") and name in HUB_IDS.get(model, ()) and not Path(name).exists()


def other_judge(name: str, papers_judges: Sequence[str]) -> str:
    """The model that judged, if it is not one of the paper's judges; `name` is the judge's name with its prompt.

    A folder has only its last part in its name: only a hub id or the name of a served model can be the paper's.
    """
    judge = name.partition("|")[0].partition("#")[0]
    kind, _, model = model_of(judge).partition("/")
    is_papers = model in papers_judges and (kind == "openai" or "/" in model)
    return "" if is_papers else judge
