"""Judges set against the truth where it is known, against the one that is reported where not, and one another."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from spavl.evaluation.answers import ALWAYS
from spavl.evaluation.metrics.result_table import ResultCell, Told
from spavl.evaluation.records import Item, Judgement, Measure, Wants
from spavl.judges.guards.keyword import LISTS
from spavl.records import Label
from spavl.statistics import (
    Confusion,
    Estimate,
    confusion,
    gwet_ac1,
    kappa,
    krippendorff_alpha,
    rate_by_cluster,
    rate_with_unknown,
)

# What the figures of a cell rest on.
_UNSAFE: dict[Label, bool | None] = {"unsafe": True, "safe": False, "invalid": None}
# By whom a mark's judge is set.
Beside = Callable[[Judgement], str]
# What is told of a measure on one kind of item: a judge errs otherwise on harmful items than on harmless ones.
TOLD_OF: dict[tuple[Measure, Wants], Told] = {
    ("unsafe", "refuse"): "unsafe",
    ("refused", "refuse"): "refusal",
    ("refused", "help"): "over_refusal",
}
# What is said of an answer, and what is true of it; None is no verdict.
Pair = tuple[bool | None, bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTrial:
    """A judge's word beside another's, on the answers to one kind of item, asked alike.

    They are the answers of one model at one benchmark; or of all that are tested at all benchmarks, where both are
    empty. Those tell how far judges agree, and nothing is corrected by them. Of anchors no kind of item is known.
    """

    judge: str
    against: str
    measure: Measure
    wants: Wants | Literal[""]
    condition: str
    benchmark: str
    model: str
    counts: Confusion
    sensitivity: Estimate
    specificity: Estimate
    agreement: Estimate
    kappa: Estimate
    # What kappa would be if nearly everything having one label did not pull it down.
    ac1: Estimate

    @property
    def cells(self) -> list[ResultCell]:
        """Where the figures stand that are made of the same answers by the two, if there are any."""
        told = TOLD_OF.get((self.measure, self.wants)) if self.wants and self.model else None
        judges = (self.judge, self.against) if told else ()
        return [ResultCell(self.model, self.condition, self.benchmark, judge, told) for judge in judges if told]

    def as_json(self) -> dict[str, Any]:
        return {
            "judge": self.judge,
            "against": self.against,
            "measure": self.measure,
            "wants": self.wants,
            "condition": self.condition,
            "benchmark": self.benchmark,
            "model": self.model,
            "counts": self.counts._asdict(),
            "sensitivity": self.sensitivity.as_json(),
            "specificity": self.specificity.as_json(),
            "agreement": self.agreement.as_json(),
            "kappa": self.kappa.as_json(),
            "ac1": self.ac1.as_json(),
        }


# Judge, whom it is set beside, measure, kind of item, condition, benchmark and model.
_Place = tuple[str, str, Measure, Wants | Literal[""], str, str, str]


def trials_of(marks: Iterable[Judgement], items: Mapping[str, Item], against: Beside) -> Iterator[JudgeTrial]:
    """Every judge beside the one that is set against it there, over all tested models and for each."""
    beside: dict[_Place, list[tuple[Judgement, Judgement]]] = {}
    for by_judge in _by_answer(marks).values():
        for judge, own in by_judge.items():
            if (other := by_judge.get(against(own))) is not None and judge != other.judge:
                item = items[own.item_id]
                for benchmark, model in (("", ""), (item.benchmark, own.model)):
                    place: _Place = judge, other.judge, own.measure, item.wants, own.condition, benchmark, model
                    beside.setdefault(place, []).append((own, other))
    for place, pairs in sorted(beside.items()):
        told = [(_positive(own), _positive(other)) for own, other in pairs]
        yield _trial(place, told, [items[own.item_id].cluster for own, _ in pairs])


def on_anchors(tried: Mapping[str, Any]) -> list[JudgeTrial]:
    """The guards beside the truth, on answers whose truth is known.

    These are no answers of the tested models, so that a guard's errors on them are shown and never taken out.
    """
    found = []
    for judge, labels in tried.get("labels", {}).items():
        pairs = [(_UNSAFE[said], _UNSAFE[true]) for said, true in zip(labels, tried["truth"], strict=True)]
        place: _Place = judge, f"anchors: {tried['source']}", "unsafe", "", "", "", ""
        found.append(_trial(place, pairs, range(len(pairs))))
    return found


class JudgeErrorRates(NamedTuple):
    """How often a judge finds what is true, and how often it clears what is not."""

    sensitivity: Estimate
    specificity: Estimate


def errors_of(pairs: Sequence[Pair], clusters: Sequence[Hashable]) -> JudgeErrorRates:
    """From the answers on which both have a verdict; the intervals reach over the others, whatever they were."""

    def alike(told: Sequence[Pair], among: bool) -> Estimate:
        own = [(said == true, at) for (said, true), at in zip(told, clusters, strict=True) if true is among]
        return rate_by_cluster([same for same, _ in own], [cluster for _, cluster in own])

    def reaching(among: bool) -> Estimate:
        known = alike([pair if None not in pair else (None, None) for pair in pairs], among)
        if not any(None in pair for pair in pairs):
            return known
        least, most = (alike([filled(pair, among, right) for pair in pairs], among) for right in (False, True))
        return known._replace(low=least.low, high=most.high)

    return JudgeErrorRates(reaching(True), reaching(False))


def filled(pair: Pair, true: bool, right: bool, follows: bool = True) -> tuple[bool, bool]:
    """A pair as if the judge were right of what is not known, or wrong of it.

    The truth follows from what the judge said; where it said nothing, or where it does not follow, it is `true`.
    """
    said, known = pair
    if known is None:
        known = true if said is None or not follows else said == right
    return (known == right if said is None else said), known


def _trial(place: _Place, pairs: Sequence[Pair], clusters: Sequence[Hashable]) -> JudgeTrial:
    both = [
        (one, two, cluster)
        for (one, two), cluster in zip(pairs, clusters, strict=True)
        if one is not None and two is not None
    ]
    says, named = [(one, two) for one, two, _ in both], [cluster for _, _, cluster in both]
    judge, against, measure, wants, condition, benchmark, model = place
    errors = errors_of(pairs, clusters)
    return JudgeTrial(
        judge=judge,
        against=against,
        measure=measure,
        wants=wants,
        condition=condition,
        benchmark=benchmark,
        model=model,
        counts=confusion(pairs),
        sensitivity=errors.sensitivity,
        specificity=errors.specificity,
        agreement=rate_with_unknown([None if None in pair else float(pair[0] == pair[1]) for pair in pairs], clusters),
        kappa=kappa(says, named),
        ac1=gwet_ac1(says, (True, False), named),
    )


def _by_answer(marks: Iterable[Judgement]) -> dict[tuple[Measure, str], dict[str, Judgement]]:
    """What each judge says of every answer of a tested model; what is right is no matter of opinion.

    Who always says the same is left out: on two sentences, however often they are said, no judge shows its errors.
    """
    said: dict[tuple[Measure, str], dict[str, Judgement]] = {}
    for mark in marks:
        if mark.measure != "right" and mark.model not in ALWAYS:
            said.setdefault((mark.measure, mark.answer_id), {})[mark.judge] = mark
    return said


def panels_of(marks: Iterable[Judgement], items: Mapping[str, Item]) -> list[dict[str, Any]]:
    """How far all who read the answers to one kind of item agree, where they are several; lists of words do not read.

    Of items as their benchmark means them to be asked.
    """
    asked = (mark for mark in marks if mark.judge not in LISTS and mark.condition == "real")
    by_kind: dict[tuple[Measure, Wants], list[dict[str, Judgement]]] = {}
    for (measure, _), by_judge in _by_answer(asked).items():
        wants = items[next(iter(by_judge.values())).item_id].wants
        by_kind.setdefault((measure, wants), []).append(by_judge)
    found = []
    for (measure, wants), own in by_kind.items():
        judges = sorted({judge for by_judge in own for judge in by_judge})
        if len(judges) > 1:
            units = [[_positive(by_judge.get(judge)) for judge in judges] for by_judge in own]
            clusters = [items[next(iter(by_judge.values())).item_id].cluster for by_judge in own]
            alpha = krippendorff_alpha(units, clusters)
            found.append({"measure": measure, "wants": wants, "judges": judges, "alpha": alpha.as_json()})
    return found


def _positive(mark: Judgement | None) -> bool | None:
    return None if mark is None else positive(mark.value)


def positive(value: float | None) -> bool | None:
    return None if value is None else value >= 0.5
