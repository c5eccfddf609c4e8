"""The results of a study, as one typed record: what study.json holds, and what its page and its lines read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spavl.statistics import Estimate
from spavl.store.files import write_text
from spavl.store.typed_json import to_json
from spavl.studies.bias.tables import BiasTable
from spavl.studies.config import StudyConfig

# Raise it when a field of study.json is renamed, removed or gets another meaning.
FORMAT = 1
FILE = "study.json"
CellState = Literal["done", "failed", "not run"]
# The items that a rate is about: all, or those of the leaves that an arm, or else its control, is trained without, and
# of the other leaves.
Part = Literal["all", "unseen leaves", "seen leaves"]


class RateName(NamedTuple):
    """A rate of a benchmark, on a part of its items."""

    benchmark: str
    metric: str
    part: Part = "all"


class CellRate(NamedTuple):
    name: RateName
    rate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """One cell: what it was trained on, what became of it, and its rates."""

    id: str
    arm: str
    model: str
    seed: int
    levels: Mapping[str, Any]
    state: CellState
    # Why it failed; empty if it did not.
    failure: str
    # 0 for a model that is not trained.
    pairs: int
    steps: int
    seconds: float
    # The last validation minus the last training accuracy: how much better the model orders pairs that it has seen.
    overfit: float | None
    rates: tuple[CellRate, ...]


class ArmSettings(NamedTuple):
    """With what a trained arm was trained, where the arms differ."""

    arm: str
    model: str
    # Of each finished seed.
    pairs: tuple[int, ...]
    settings: Mapping[str, Any]


class StudySettings(NamedTuple):
    """The main settings and those without their default: which all arms have in common, and by which they differ."""

    common: Mapping[str, Any]
    arms: tuple[ArmSettings, ...]


class ArmRate(NamedTuple):
    """A rate of an arm over its seeds and the items."""

    arm: str
    name: RateName
    rate: Estimate
    # In the order of the seeds that are done.
    by_seed: tuple[float, ...]


class ArmDifference(NamedTuple):
    """An arm minus the control, on the same items. Holm's correction is over all arms and rates of the study."""

    arm: str
    control: str
    name: RateName
    difference: Estimate
    p: float
    p_holm: float


FindingState = Literal["as in the paper", "against the paper", "not decided", "not measured"]


class Finding(NamedTuple):
    """An order of two arms that the paper found, and what the study's own numbers say of it."""

    lower: str
    higher: str
    metric: str
    paper: str
    state: FindingState
    # The first arm minus the second; None if it was not measured.
    difference: Estimate | None


class FailureSign(NamedTuple):
    """A number by which an alignment is known to fail, and the line from which it is a warning."""

    arm: str
    sign: str
    value: float
    warns_above: float

    @property
    def is_warning(self) -> bool:
        return self.value > self.warns_above


class FrontArm(NamedTuple):
    """An arm beside all others, in every rate that all of them have."""

    arm: str
    rates: Mapping[str, float]
    # The arms that are at least as good in every rate and better in one; none if this one is on the Pareto front.
    dominated_by: tuple[str, ...]
    # The share of resamples of seeds and items in which it is on the front.
    share: float
    # Those in which every arm has every rate.
    seeds: tuple[int, ...] = ()


class CurveForm(NamedTuple):
    """A form that was fitted to a curve. The weight is Akaike's."""

    form: str
    formula: str
    deviance: float
    freedom: int
    aic: float
    weight: float


class SizeRate(NamedTuple):
    pairs: int
    rate: Estimate


class PairsNeeded(NamedTuple):
    """How many pairs bring a rate down to this."""

    rate: float
    status: str
    # None if the sizes do not say.
    pairs: Estimate | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleCurve:
    """A rate over the number of pairs."""

    series: str
    name: RateName
    form: str
    # Why the form is not identified, and what would help; empty if it is.
    why_not: tuple[str, ...]
    what_helps: str
    # Those that may be true if none is identified; none if none fits.
    may_be: tuple[str, ...]
    # The best first.
    forms: tuple[CurveForm, ...]
    # As it was measured, and as the form gives it; no line if the form is not identified.
    rates: tuple[SizeRate, ...]
    line: tuple[SizeRate, ...]
    needed: tuple[PairsNeeded, ...]
    # yes, no, unclear or not identified, and the change of the rate with twice as many pairs; None if not identified.
    is_more_worth_it: str
    doubling: Estimate | None
    why_unsure: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResults:
    name: str
    config: StudyConfig
    versions: Mapping[str, str]
    # By the name of each data set: what was typed as --data, and the hash of its rows.
    data: Mapping[str, str]
    # By the name of each guard: with its version.
    guards: Mapping[str, str]
    arms: tuple[str, ...]
    settings: StudySettings
    cells: tuple[CellResult, ...]
    rates: tuple[ArmRate, ...]
    differences: tuple[ArmDifference, ...]
    findings: tuple[Finding, ...]
    signs: tuple[FailureSign, ...]
    # Of a study of the front.
    front: tuple[FrontArm, ...]
    curves: tuple[ScaleCurve, ...]
    # Of a study of bias: shares, shortcuts and groups, as texts.
    tables: tuple[BiasTable, ...]
    # What the numbers allow to say, in sentences.
    sentences: tuple[str, ...]
    seconds: float

    @property
    def cells_left(self) -> int:
        return sum(cell.state != "done" for cell in self.cells)

    @property
    def has_several_seeds(self) -> bool:
        """Whether some arm has more than one finished seed, so that intervals hold the variation between seeds."""
        return any(len(each.by_seed) > 1 for each in self.rates)


def write_results(folder: Path, results: StudyResults) -> None:
    text = json.dumps({"format": FORMAT, **to_json(results)}, indent=2, ensure_ascii=False)
    write_text(folder / FILE, f"{text}\n")


def study_in(folder: Path) -> str:
    """The name of the study whose results are in this folder; empty if there are none."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(found.get("name", "")) if isinstance(found, dict) else ""
