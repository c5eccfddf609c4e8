"""Judges set against the truth where it is known, against the one that is reported where not, and one another."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spavl.benchmarks.records import Item, Mark, Measure
from spavl.exams.figures import Figure
from spavl.judges.words import LISTS
from spavl.records import Label
from spavl.statistics import (
    Confusion,
    Corrected,
    Estimate,
    confusion,
    corrected_rate,
    gwet_ac1,
    kappa,
    krippendorff_alpha,
    rate_by_cluster,
)

# What the figures of a cell rest on.
_UNSAFE: dict[Label, bool | None] = {"unsafe": True, "safe": False, "invalid": None}
# By whom a mark's judge is set.
Beside = Callable[[Mark], str]
_MEASURES: dict[str, Measure] = {"unsafe": "unsafe", "over_refusal": "refused", "refusal": "refused"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A judge's word beside another's, on the answers of one model, or of all where that is empty."""

    judge: str
    against: str
    measure: Measure
    model: str
    counts: Confusion
    sensitivity: Estimate
    specificity: Estimate
    agreement: Estimate
    kappa: Estimate
    # What kappa would be if nearly everything having one label did not pull it down.
    ac1: Estimate

    def as_json(self) -> dict[str, Any]:
        return {
            "judge": self.judge,
            "against": self.against,
            "measure": self.measure,
            "model": self.model,
            "counts": self.counts._asdict(),
            "sensitivity": self.sensitivity.as_json(),
            "specificity": self.specificity.as_json(),
            "agreement": self.agreement.as_json(),
            "kappa": self.kappa.as_json(),
            "ac1": self.ac1.as_json(),
        }


def trials_of(marks: Iterable[Mark], items: Mapping[str, Item], against: Beside) -> Iterator[Trial]:
    """Every judge beside the one that is set against it there, over all models and for each."""
    beside: dict[tuple[str, str, Measure, str], list[tuple[Mark, Mark]]] = {}
    for by_judge in _by_answer(marks).values():
        for judge, own in by_judge.items():
            if (other := by_judge.get(against(own))) is not None and judge != other.judge:
                for model in ("", own.model):
                    beside.setdefault((judge, other.judge, own.measure, model), []).append((own, other))
    for (judge, named, measure, model), pairs in sorted(beside.items()):
        told = [(_positive(own), _positive(other)) for own, other in pairs]
        yield _trial(judge, named, measure, model, told, [items[own.item_id].cluster for own, _ in pairs])


def on_anchors(tried: Mapping[str, Any]) -> list[Trial]:
    """The guards beside the truth, on answers whose truth is known."""
    found = []
    for judge, labels in tried.get("labels", {}).items():
        pairs = [(_UNSAFE[said], _UNSAFE[true]) for said, true in zip(labels, tried["truth"], strict=True)]
        found.append(_trial(judge, f"anchors: {tried['source']}", "unsafe", "", pairs, range(len(pairs))))
    return found


def _trial(
    judge: str,
    against: str,
    measure: Measure,
    model: str,
    pairs: Sequence[tuple[bool | None, bool | None]],
    clusters: Sequence[Hashable],
) -> Trial:
    both = [
        (one, two, cluster)
        for (one, two), cluster in zip(pairs, clusters, strict=True)
        if one is not None and two is not None
    ]
    says, named = [(one, two) for one, two, _ in both], [cluster for _, _, cluster in both]

    def alike(among: Callable[[bool], bool]) -> Estimate:
        own = [(one == two, cluster) for one, two, cluster in both if among(two)]
        return rate_by_cluster([same for same, _ in own], [cluster for _, cluster in own])

    return Trial(
        judge=judge,
        against=against,
        measure=measure,
        model=model,
        counts=confusion(pairs),
        sensitivity=alike(lambda true: true),
        specificity=alike(lambda true: not true),
        agreement=alike(lambda true: True),
        kappa=kappa(says, named),
        ac1=gwet_ac1(says, (True, False), named),
    )


def _by_answer(marks: Iterable[Mark]) -> dict[tuple[Measure, str], dict[str, Mark]]:
    """What each judge says of every answer; what is right is no matter of opinion."""
    said: dict[tuple[Measure, str], dict[str, Mark]] = {}
    for mark in marks:
        if mark.measure != "right":
            said.setdefault((mark.measure, mark.answer_id), {})[mark.judge] = mark
    return said


def panels_of(marks: Iterable[Mark], items: Mapping[str, Item]) -> list[dict[str, Any]]:
    """How far all who read the answers agree, where they are several; lists of words do not read."""
    said, found = _by_answer(mark for mark in marks if mark.judge not in LISTS), []
    for measure in dict.fromkeys(measure for measure, _ in said):
        own = [by_judge for (about, _), by_judge in said.items() if about == measure]
        judges = sorted({judge for by_judge in own for judge in by_judge})
        if len(judges) > 1:
            units = [[_positive(by_judge.get(judge)) for judge in judges] for by_judge in own]
            clusters = [items[next(iter(by_judge.values())).item_id].cluster for by_judge in own]
            alpha = krippendorff_alpha(units, clusters)
            found.append({"measure": measure, "judges": judges, "alpha": alpha.as_json()})
    return found


def without_errors(figure: Figure, trials: Iterable[Trial]) -> Corrected | None:
    """A judge's rate with the errors taken out that it was found to make, on answers of this model if that can be."""
    measure = _MEASURES.get(figure.cell.told)
    own = {trial.model: trial for trial in trials if (trial.judge, trial.measure) == (figure.cell.judge, measure)}
    found = [corrected_rate(figure.micro, own[name]) for name in (figure.cell.model, "") if name in own]
    return next((each for each in found if each.corrected), found[0] if found else None)


def _positive(mark: Mark | None) -> bool | None:
    return None if mark is None or mark.value is None else mark.value >= 0.5
