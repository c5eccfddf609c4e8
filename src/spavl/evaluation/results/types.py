"""The results of an evaluation, as one typed record: what results.json holds, and what every report reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.contamination.audit import ContaminationAudit
from spavl.evaluation.metrics.as_published import RateAsPublished
from spavl.evaluation.metrics.degenerate_answers import DegenerateCounts
from spavl.evaluation.metrics.desiderata import DesideratumMetric
from spavl.evaluation.metrics.image_dependence import ImageDependence
from spavl.evaluation.metrics.judge_accuracy import JudgeAccuracy, JudgeAgreement
from spavl.evaluation.metrics.paired import PairedRates
from spavl.evaluation.metrics.published import PublishedMetric
from spavl.evaluation.metrics.rates import RateMetric
from spavl.evaluation.metrics.result_table import Reported
from spavl.evaluation.metrics.win_rates import WinRate
from spavl.evaluation.metrics.withheld import WithheldRate
from spavl.judges.gold_answers import JudgedGoldAnswers


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSummary:
    """What a benchmark measures, and how many of its items were asked: in all, and by what is wanted of them."""

    does: str
    items: int = 0
    refuse: int = 0
    help: int = 0
    answer: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCanary:
    """A canary that a judge failed: the verdict that it must give, the one that it gave, and its reply."""

    judge: str
    model: str
    canary: str
    must: str
    verdict: str
    raw: str
    # Whether there was a reply and no verdict could be read in it.
    unread: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySummary:
    """The number of canaries by judge, the failed ones, and a warning for each judge that failed any."""

    asked: Mapping[str, int]
    failed: tuple[FailedCanary, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTotals:
    """The model calls of an evaluation and what they cost; `made_again` counts calls that were made twice."""

    calls: float
    usd: float
    tokens_in: float
    tokens_out: float
    made_again: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResults:
    """Every metric of an evaluation, with all that is needed to trust it or to compute it again."""

    config: EvaluationConfig
    versions: Mapping[str, str]
    # By the name of each tested model and baseline: the model's own name, down to its revision.
    models: Mapping[str, str]
    tested: tuple[str, ...]
    baselines: tuple[str, ...]
    # The model that the others are compared with.
    base: str
    # By the name given with --guard: the guard's own name.
    guards: Mapping[str, str]
    reported_by: Reported
    benchmarks: Mapping[str, BenchmarkSummary]
    rates: tuple[RateMetric, ...]
    withheld: tuple[WithheldRate, ...]
    pairs: tuple[PairedRates, ...]
    win_rates: tuple[WinRate, ...]
    judge_accuracy: tuple[JudgeAccuracy, ...]
    judge_agreement: tuple[JudgeAgreement, ...]
    gold_answers: JudgedGoldAnswers | None
    # A warning for each model, guard and judge whose name its provider may move to other weights.
    aliases: tuple[str, ...]
    canaries: CanarySummary
    degenerate: tuple[DegenerateCounts, ...]
    drift_warnings: tuple[str, ...]
    image_dependence: tuple[ImageDependence, ...]
    published: tuple[PublishedMetric, ...]
    contamination: ContaminationAudit | None
    desiderata: tuple[DesideratumMetric, ...]
    calls: CallTotals
    # The most that may be billed for attempts without an answer, in USD.
    usd_lost_at_most: float
    # The numbers of published protocols, if any was asked for.
    as_published: tuple[RateAsPublished, ...] = ()

    @property
    def compares(self) -> bool:
        """Whether any model is compared with the base."""
        return bool(self.pairs or self.win_rates)
