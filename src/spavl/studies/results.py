"""The results of a study, as one typed record: what study.json holds, and what its page and its lines read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from spavl.statistics import Estimate
from spavl.studies.config import StudyConfig

CellState = Literal["done", "failed", "not run"]
# The items that a rate is about: all, or those of the leaves that an arm is trained without, and of the other leaves.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResults:
    name: str
    config: StudyConfig
    versions: Mapping[str, str]
    # By the name of each data set: its folder and the hash of its rows.
    data: Mapping[str, str]
    arms: tuple[str, ...]
    cells: tuple[CellResult, ...]
    rates: tuple[ArmRate, ...]
    differences: tuple[ArmDifference, ...]
    findings: tuple[Finding, ...]
    signs: tuple[FailureSign, ...]
    # What the numbers allow to say, in sentences.
    sentences: tuple[str, ...]
    seconds: float

    @property
    def cells_left(self) -> int:
        return sum(cell.state != "done" for cell in self.cells)
