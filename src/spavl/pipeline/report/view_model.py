"""Everything that the report shows, read from a run folder before the page is rendered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spavl.data.captions.config import SPEC as CAPTIONS
from spavl.data.dataset.config import SPEC as DATASET
from spavl.data.pairs.notes import PairsNotes
from spavl.data.questions.config import SPEC as QUESTIONS
from spavl.data.selection.config import SPEC as SELECTION
from spavl.evaluation.before_after.results import BeforeAfterResults
from spavl.pipeline.report.examples import (
    AnswerFaults,
    BeforeAfterExample,
    ExampleRow,
    RecordsById,
    choose_comparisons,
    choose_examples,
    faults_of,
)
from spavl.pipeline.report.filter_funnel import FilterFunnel, funnel_of
from spavl.pipeline.report.judge_trust import JudgeTrust, trust_of
from spavl.pipeline.report.ppo_samples import PPOSample, choose_rewarded
from spavl.pipeline.report.run_summary import (
    BeforeAndAfter,
    DatasetTotals,
    PValues,
    RateSet,
    RunSummary,
    StageCalls,
)
from spavl.publishing.build_notes import BuildNotes, RunModels
from spavl.publishing.privacy import PrivacyRow
from spavl.records import CurvePoint, Image, Outcome, Question, Rollout, Sample
from spavl.statistics import Estimate
from spavl.store import Manifest, RunFolder
from spavl.text.degenerate import table_in_words
from spavl.training.config import SPEC as TRAINING
from spavl.training.objectives.notes import TrainingNotes

# The sets of questions.
MAIN_PROBE, LEAVES_PROBE, BLANK_PROBE = "held_out_images", "held_out_leaves", "blank_image"
# The prefix of the curve names of a reward model that was trained before the policy.
REWARD_MODEL = "reward_model_"
_CONTRASTS = ("both", "safety", "helpfulness", "unknown")
_Better = Literal["lower", "higher"] | None
Counts = tuple[tuple[str, int], ...]
_OUTCOMES = ("win", "tie", "loss", "inconsistent", "blocked")
_PROBE_WORDS = {
    MAIN_PROBE: ("Held-out images", "new images of the leaves in the training data"),
    LEAVES_PROBE: ("Held-out leaves", "kinds of harm that are not in the training data"),
    BLANK_PROBE: (
        "Blank image",
        "the same questions with a grey image, judged as if the true image had been shown: the effect of the text",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAfterRate:
    """One rate before and after training; `p` is that of the paired test, None if the two were not paired."""

    title: str
    better: _Better
    before: Estimate | None
    after: Estimate | None
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSetResult:
    """The rates of one set of questions. It holds unsafe rate and over-refusal, so that neither is shown alone."""

    key: str
    title: str
    note: str
    unsafe: BeforeAfterRate
    over_refusal: BeforeAfterRate
    naming: BeforeAfterRate

    @property
    def measures(self) -> tuple[BeforeAfterRate, ...]:
        return self.unsafe, self.over_refusal, self.naming


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSummary:
    stage: str
    rows: int
    rejects: tuple[tuple[str, int], ...]
    seconds: float

    @property
    def dropped_rows(self) -> int:
        return sum(number for _, number in self.rejects)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSummary:
    """Counts of captions and questions, and what they were written from."""

    described: int
    by_source: int
    fallbacks: Counts
    without_caption: int
    kinds: Counts
    # The questions by the source of their harm; empty without a checker.
    modality: Counts
    second_tries: int
    of_fallback: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderSummary:
    model: str
    tier: int
    # The tiers in which the ends of the rate's interval lie.
    could_be: tuple[int, ...]
    unsafe: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    stage: str
    calls: int
    tokens_in: int
    tokens_out: int
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNames:
    before: str
    after: str
    writer: str
    guard: str
    judge: str
    responders: tuple[str, ...]
    # Answers of each responder to a question.
    samples: int = 1

    @property
    def miniature(self) -> bool:
        """Whether any model is a miniature; the results then say nothing about real models."""
        named = (self.before, self.after, self.writer, self.guard, self.judge, *self.responders)
        return any("miniature" in name.split("/") for name in named)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """Totals of the finished data set; the data card has them by class."""

    images: int
    by_split: tuple[tuple[str, int], ...]
    tests: tuple[tuple[str, int], ...]
    contrasts: tuple[tuple[str, int], ...]
    rejected_unsafe: Estimate | None
    chosen_unsafe: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the page shows. A part that the run does not have is empty and left out of the page."""

    models: ModelNames
    seed: int | None
    seconds: float | None
    probes: tuple[QuestionSetResult, ...]
    help: Estimate | None
    outcomes: tuple[tuple[str, int], ...]
    # The maximum number of images (--limit); None for a full run.
    limit: int | None
    # The rates that are withheld because too many answers could not be judged.
    withheld: tuple[str, ...]
    funnel: tuple[StageSummary, ...]
    filter_funnel: FilterFunnel | None
    # What was looked for to protect persons; empty if nothing was.
    privacy: tuple[PrivacyRow, ...] = ()
    written: QuestionSummary | None
    preferences: tuple[tuple[str, int], ...]
    trust: JudgeTrust | None
    responders: tuple[ResponderSummary, ...]
    curves: tuple[CurvePoint, ...]
    steps: int
    # The number of harmful and of harmless questions in each validation.
    looked: tuple[int, int]
    # Answers that the policy sampled during PPO.
    rewarded: tuple[PPOSample, ...] = ()
    # The share of held-out pairs that the reward model ranks correctly.
    in_order: Estimate | None = None
    examples: tuple[ExampleRow, ...]
    comparisons: tuple[BeforeAfterExample, ...]
    faults: AnswerFaults | None
    dataset: DatasetSummary | None = None
    calls: int | None
    made_again: int | None
    usd: float | None
    usd_lost: float
    costs: tuple[StageCost, ...]
    versions: tuple[tuple[str, str], ...]
    # A message for each judge that failed its canaries.
    canaries_failed: tuple[str, ...] = ()
    # The counts of degenerate answers before and after, in words.
    degenerate: tuple[tuple[str, str], ...] = ()


def _validation_counts(notes: TrainingNotes) -> tuple[int, int]:
    if not notes.validations:
        return 0, 0
    last = notes.validations[-1]
    return last.unsafe_rate.n, last.over_refusal.n


def gather(
    run: RunFolder, stages: Sequence[Manifest], summary: RunSummary, tested: BeforeAfterResults | None = None
) -> Report:
    """Read what the report needs. Only the tables of the given (finished) stages are opened."""
    notes, finished = BuildNotes.of(stages), {manifest.stage for manifest in stages}
    questions = list(run.read(QUESTIONS.stage, Question)) if QUESTIONS.stage in finished else []
    curves = tuple(run.read(TRAINING.stage, CurvePoint)) if TRAINING.stage in finished else ()
    images = list(run.read(SELECTION.stage, Image)) if SELECTION.stage in finished else []
    library = RecordsById(run.blobs, questions, images)
    samples = list(run.read(DATASET.stage, Sample)) if DATASET.stage in finished else []
    answers = tested.answers if tested else ()
    rollouts = run.read(f"{TRAINING.stage}.rollouts", Rollout) if notes.training.algorithm == "ppo" else ()
    return Report(
        models=_models(summary.models, notes.responses.samples or 1),
        seed=summary.seed,
        seconds=summary.seconds,
        limit=summary.limit,
        withheld=summary.withheld,
        probes=_probes(summary),
        help=summary.help_win_rate,
        outcomes=_outcomes(tested.outcomes if tested else {}),
        funnel=tuple(_stage_row(manifest) for manifest in stages),
        filter_funnel=funnel_of(stages, notes.selection, summary.image_settings),
        privacy=summary.privacy or (),
        written=_question_summary(stages, notes),
        preferences=_outcomes(notes.preferences.outcomes),
        trust=trust_of(notes.preferences),
        responders=_responders(notes.pairs),
        curves=curves,
        steps=len({point.step for point in curves if point.step and not point.name.startswith(REWARD_MODEL)}),
        looked=_validation_counts(notes.training),
        rewarded=choose_rewarded(rollouts, library),
        in_order=summary.reward_model_in_order.held_out if summary.reward_model_in_order else None,
        examples=choose_examples(samples, library),
        comparisons=choose_comparisons(answers, library),
        faults=faults_of(answers),
        dataset=_dataset(summary.dataset),
        calls=summary.calls,
        made_again=summary.calls_made_again,
        usd=summary.usd,
        usd_lost=summary.usd_lost_at_most,
        costs=_costs(summary.calls_by_stage),
        canaries_failed=summary.canaries_failed or (),
        degenerate=tuple((arm, table_in_words(counts)) for arm, counts in (summary.degenerate or {}).items()),
        versions=tuple(summary.versions.items()),
    )


def _models(named: RunModels, samples: int) -> ModelNames:
    return ModelNames(
        before=named.before or "",
        after=named.after or "",
        writer=named.writer or "",
        guard=named.guard or "",
        judge=named.judge or "",
        responders=named.responders or (),
        samples=samples,
    )


def _probes(summary: RunSummary) -> tuple[QuestionSetResult, ...]:
    """The sets of questions for which the summary has rates."""
    sets = {
        MAIN_PROBE: (summary, summary.p_values),
        LEAVES_PROBE: (summary.held_out_leaves, PValues()),
        BLANK_PROBE: (summary.blank_image, PValues()),
    }
    return tuple(
        _probe(name, rates, p_values)
        for name, (rates, p_values) in sets.items()
        if rates and (rates.unsafe_rate or rates.over_refusal)
    )


def _probe(name: str, rates: RateSet, p_values: PValues) -> QuestionSetResult:
    # The model did not see the image, so no answer is the right one.
    better: _Better = None if name == BLANK_PROBE else "lower"
    naming: _Better = None if name == BLANK_PROBE else "higher"
    title, note = _PROBE_WORDS[name]
    return QuestionSetResult(
        key=name,
        title=title,
        note=note,
        unsafe=_rate("Unsafe answers", better, rates.unsafe_rate, p_values.unsafe_rate),
        over_refusal=_rate("Over-refusal", better, rates.over_refusal, p_values.over_refusal),
        naming=_rate("Names the object", naming, rates.names_the_object, p_values.names_the_object),
    )


def _rate(title: str, better: _Better, rate: BeforeAndAfter | None, p: float | None) -> BeforeAfterRate:
    both = rate or BeforeAndAfter()
    return BeforeAfterRate(title=title, better=better, before=both.before, after=both.after, p=p)


def _dataset(totals: DatasetTotals | None) -> DatasetSummary | None:
    if totals is None or not totals.pairs:
        return None
    contrasts = {name: totals.contrast.get(name, 0) for name in _CONTRASTS}
    return DatasetSummary(
        images=totals.images,
        by_split=tuple(totals.pairs_by_split.items()),
        tests=(("harm", totals.test_questions.harm), ("help", totals.test_questions.help)),
        contrasts=tuple((name, number) for name, number in contrasts.items() if number),
        rejected_unsafe=totals.rejected_unsafe,
        chosen_unsafe=totals.chosen_unsafe,
    )


def _stage_row(manifest: Manifest) -> StageSummary:
    rejects = _most_frequent(manifest.rejects)
    return StageSummary(stage=manifest.stage, rows=manifest.rows, rejects=rejects, seconds=manifest.seconds)


def _question_summary(stages: Sequence[Manifest], notes: BuildNotes) -> QuestionSummary | None:
    rows = {manifest.stage: manifest.rows for manifest in stages}
    if CAPTIONS.stage not in rows or QUESTIONS.stage not in rows:
        return None
    return QuestionSummary(
        described=rows[CAPTIONS.stage],
        by_source=notes.captions.by_source,
        fallbacks=_most_frequent(notes.captions.fallbacks),
        without_caption=notes.captions.without_caption,
        kinds=_most_frequent(notes.questions.kinds),
        modality=_most_frequent(notes.questions.modality),
        second_tries=notes.questions.second_tries,
        of_fallback=notes.questions.of_fallback,
    )


def _most_frequent(counted: Mapping[str, int]) -> Counts:
    """The most frequent first."""
    return tuple(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _responders(notes: PairsNotes) -> tuple[ResponderSummary, ...]:
    found = [
        ResponderSummary(model=tier.model, tier=tier.tier, could_be=tier.could_be, unsafe=tier.unsafe)
        for tier in notes.tiers
    ]
    return tuple(sorted(found, key=lambda responder: (responder.tier, responder.unsafe.value, responder.model)))


def _outcomes(counts: Mapping[Outcome, int] | Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Counts in a fixed order; empty if all are 0."""
    by_name = {str(name): number for name, number in counts.items()}
    counted = tuple((name, by_name.get(name, 0)) for name in _OUTCOMES)
    return counted if any(number for _, number in counted) else ()


def _costs(by_stage: Mapping[str, StageCalls]) -> tuple[StageCost, ...]:
    return tuple(
        StageCost(
            stage=stage,
            calls=own.calls,
            tokens_in=own.tokens_in,
            tokens_out=own.tokens_out,
            usd=own.usd,
        )
        for stage, own in by_stage.items()
    )
