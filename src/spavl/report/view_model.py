"""What the report says, gathered from a run folder before a word of it is laid out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spavl.records import CurvePoint, Duel, Image, Question, Rollout, Sample, Score
from spavl.report.estimates import estimate
from spavl.report.examples import (
    AnswerFaults,
    BeforeAfterExample,
    ExampleRow,
    RecordsById,
    choose_comparisons,
    choose_specimens,
    faults_of,
)
from spavl.report.filter_funnel import FilterFunnel, funnel_of
from spavl.report.ppo_samples import PPOSample, choose_rewarded
from spavl.report.trust import JudgeTrust, trust_of
from spavl.statistics import Estimate
from spavl.store import Manifest, RunFolder
from spavl.text.degenerate import told

# The probe whose figures stand at the top of the summary; the others have a section of their own there.
MAIN_PROBE = "held_out_images"
SIDE_PROBES = ("held_out_leaves", "blank_image")
# What begins the names of the curves of a reward model that was trained before the policy.
REWARD_MODEL = "reward_model_"
_CONTRASTS = ("both", "safety", "helpfulness", "unknown")
Counts = tuple[tuple[str, int], ...]
_OUTCOMES = ("win", "tie", "loss", "inconsistent", "blocked")
_PROBE_WORDS = {
    MAIN_PROBE: ("Held-out images", "new images of the leaves that were trained on"),
    "held_out_leaves": ("Held-out leaves", "kinds of harm that training never met"),
    "blank_image": (
        "Blank image",
        "the same questions about an even grey, judged as if the image had been shown: what words alone bring about",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAfterRate:
    """One rate before and after training; `p` is of the paired test, where the two were paired."""

    key: str
    title: str
    better: Literal["lower", "higher"] | None
    before: Estimate | None
    after: Estimate | None
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSetResult:
    """One set of questions. The unsafe rate and over-refusal are one thing here, so that neither is shown alone."""

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
    def dropped(self) -> int:
        return sum(number for _, number in self.rejects)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSummary:
    """What was written about the images, and what it rests on."""

    described: int
    by_source: int
    fallbacks: Counts
    without_caption: int
    kinds: Counts
    # Where the harm of the questions lies; empty where no checker was asked.
    modality: Counts
    second_tries: int
    of_fallback: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderSummary:
    model: str
    tier: int
    # The tiers that the ends of the rate's interval lie on.
    could_be: tuple[int, ...]
    unsafe: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    stage: str
    calls: int
    tokens_in: int
    tokens_out: int
    usd: float
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNames:
    before: str
    after: str
    writer: str
    guard: str
    judge: str
    responders: tuple[str, ...]

    @property
    def miniature(self) -> bool:
        """Whether any part of the run was made up; its figures then say nothing of real models."""
        named = (self.before, self.after, self.writer, self.guard, self.judge, *self.responders)
        return any("miniature" in name.split("/") for name in named)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """The finished data set in short; its card has it by class."""

    images: int
    by_split: tuple[tuple[str, int], ...]
    tests: tuple[tuple[str, int], ...]
    contrasts: tuple[tuple[str, int], ...]
    rejected_unsafe: Estimate | None
    chosen_unsafe: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that the page shows. A part that the run does not have is empty, and left out of the page."""

    models: ModelNames
    seed: int | None
    seconds: float | None
    probes: tuple[QuestionSetResult, ...]
    help: Estimate | None
    duels: tuple[tuple[str, int], ...]
    # The most images that a trial went on with; empty where the run is whole.
    limit: int | None
    # The rates of the evaluation of which too many answers could not be judged.
    withheld: tuple[str, ...]
    funnel: tuple[StageSummary, ...]
    filter_funnel: FilterFunnel | None
    written: QuestionSummary | None
    preferences: tuple[tuple[str, int], ...]
    trust: JudgeTrust | None
    responders: tuple[ResponderSummary, ...]
    curves: tuple[CurvePoint, ...]
    steps: int
    # How many harmful and harmless questions were asked at each look.
    looked: tuple[int, int]
    # What a policy said while it learnt from rewards.
    rewarded: tuple[PPOSample, ...] = ()
    # How many pairs that it has never seen a reward model puts in order.
    in_order: Estimate | None = None
    specimens: tuple[ExampleRow, ...]
    comparisons: tuple[BeforeAfterExample, ...]
    faults: AnswerFaults | None
    dataset: DatasetSummary | None = None
    calls: int | None
    made_again: int | None
    usd: float | None
    usd_lost: float
    costs: tuple[StageCost, ...]
    versions: tuple[tuple[str, str], ...]
    # A text for each judge that failed answers whose verdict is plain.
    canaries_failed: tuple[str, ...] = ()
    # How many answers before and after are no proper ones.
    degenerate: tuple[tuple[str, str], ...] = ()


def _looked(notes: Mapping[str, Any]) -> tuple[int, int]:
    last = (notes.get("validations") or [{}])[-1]
    return last.get("unsafe_rate", {}).get("n", 0), last.get("over_refusal", {}).get("n", 0)


def gather(run: RunFolder, stages: Sequence[Manifest], summary: Mapping[str, Any]) -> Report:
    """Read what the report needs. Only the tables of the given (finished) stages are opened."""
    notes = {manifest.stage: manifest.notes for manifest in stages}
    questions = list(run.read("questions", Question)) if "questions" in notes else []
    curves = tuple(run.read("training", CurvePoint)) if "training" in notes else ()
    images = list(run.read("selection", Image)) if "selection" in notes else []
    library = RecordsById(run.blobs, questions, images)
    samples = list(run.read("dataset", Sample)) if "dataset" in notes else []
    scores = list(run.read("evaluation", Score)) if "evaluation" in notes else []
    drawn = run.read("training.rollouts", Rollout) if notes.get("training", {}).get("algorithm") == "ppo" else ()
    main = [score for score in scores if score.probe == MAIN_PROBE]
    duels = run.read("duels", Duel) if "duels" in notes else ()
    return Report(
        models=_models(summary.get("models") or {}),
        seed=summary.get("seed"),
        seconds=summary.get("seconds"),
        limit=summary.get("limit"),
        withheld=tuple(summary.get("withheld", ())),
        probes=_probes(summary),
        help=estimate(summary.get("help_win_rate")),
        duels=_outcomes(Counter(comparison_result.outcome for comparison_result in duels)),
        funnel=tuple(_stage_row(manifest) for manifest in stages),
        filter_funnel=funnel_of(stages, summary.get("pictures") or {}),
        written=_written(stages),
        preferences=_outcomes(notes.get("preferences", {}).get("outcomes")),
        trust=trust_of(notes.get("preferences", {})),
        responders=_responders(notes.get("pairs", {}).get("tiers")),
        curves=curves,
        steps=len({point.step for point in curves if point.step and not point.name.startswith(REWARD_MODEL)}),
        looked=_looked(notes.get("training", {})),
        rewarded=choose_rewarded(drawn, library),
        in_order=estimate((summary.get("reward_model_in_order") or {}).get("held_out")),
        specimens=choose_specimens(samples, library),
        comparisons=choose_comparisons(main, library),
        faults=faults_of(main),
        dataset=_dataset(summary.get("dataset")),
        calls=summary.get("calls"),
        made_again=summary.get("calls_made_again"),
        usd=summary.get("usd"),
        usd_lost=float(summary.get("usd_lost_at_most") or 0.0),
        costs=_costs(summary.get("calls_by_stage") or {}),
        canaries_failed=tuple(summary.get("canaries_failed") or ()),
        degenerate=tuple((arm, told(counts)) for arm, counts in (summary.get("degenerate") or {}).items()),
        versions=tuple((str(name), str(version)) for name, version in (summary.get("versions") or {}).items()),
    )


def _models(named: Mapping[str, Any]) -> ModelNames:
    return ModelNames(
        before=named.get("before") or "",
        after=named.get("after") or "",
        writer=named.get("writer") or "",
        guard=named.get("guard") or "",
        judge=named.get("judge") or "",
        responders=tuple(named.get("responders") or ()),
    )


def _probes(summary: Mapping[str, Any]) -> tuple[QuestionSetResult, ...]:
    """The probes that the summary has figures of; the main one's stand at its top."""
    sections = {MAIN_PROBE: summary} | {name: summary.get(name) or {} for name in SIDE_PROBES}
    p_values = {MAIN_PROBE: summary.get("p_values") or {}}
    return tuple(
        _probe(name, section, p_values.get(name) or section.get("p_values") or {})
        for name, section in sections.items()
        if section.get("unsafe_rate") or section.get("over_refusal")
    )


def _probe(name: str, section: Mapping[str, Any], p_values: Mapping[str, float | None]) -> QuestionSetResult:
    def measure(key: str, title: str, better: Literal["lower", "higher"]) -> BeforeAfterRate:
        arms = section.get(key) or {}
        before, after = estimate(arms.get("before")), estimate(arms.get("after"))
        # About an image that nobody saw no answer is the right one.
        wanted = None if name == "blank_image" else better
        return BeforeAfterRate(key=key, title=title, better=wanted, before=before, after=after, p=p_values.get(key))

    title, note = _PROBE_WORDS[name]
    return QuestionSetResult(
        key=name,
        title=title,
        note=note,
        unsafe=measure("unsafe_rate", "Unsafe answers", "lower"),
        over_refusal=measure("over_refusal", "Over-refusal", "lower"),
        naming=measure("names_the_object", "Names the object", "higher"),
    )


def _dataset(raw: Any) -> DatasetSummary | None:
    if not raw or not raw["pairs"]:
        return None
    return DatasetSummary(
        images=raw["images"],
        by_split=tuple(raw["pairs_by_split"].items()),
        tests=tuple(raw["test_questions"].items()),
        contrasts=tuple((name, raw["contrast"][name]) for name in _CONTRASTS if raw["contrast"].get(name)),
        rejected_unsafe=estimate(raw["rejected_unsafe"]),
        chosen_unsafe=estimate(raw["chosen_unsafe"]),
    )


def _stage_row(manifest: Manifest) -> StageSummary:
    rejects = sorted(manifest.rejects.items(), key=lambda item: (-item[1], item[0]))
    return StageSummary(stage=manifest.stage, rows=manifest.rows, rejects=tuple(rejects), seconds=manifest.seconds)


def _written(stages: Sequence[Manifest]) -> QuestionSummary | None:
    done = {manifest.stage: manifest for manifest in stages}
    described, asked = done.get("captions"), done.get("questions")
    if described is None or asked is None:
        return None
    return QuestionSummary(
        described=described.rows,
        by_source=_number(described.notes.get("by_source")),
        fallbacks=_counts(described.notes.get("fallbacks")),
        without_caption=_number(described.notes.get("without_caption")),
        kinds=_counts(asked.notes.get("kinds")),
        modality=_counts(asked.notes.get("modality")),
        second_tries=_number(asked.notes.get("second_tries")),
        of_fallback=_number(asked.notes.get("of_fallback")),
    )


def _counts(raw: Any) -> Counts:
    """The most frequent first."""
    counted = [(str(name), int(number)) for name, number in (raw or {}).items()]
    return tuple(sorted(counted, key=lambda item: (-item[1], item[0])))


def _number(raw: Any) -> int:
    return int(raw or 0)


def _responders(raw: Any) -> tuple[ResponderSummary, ...]:
    found = [
        ResponderSummary(
            model=str(row["model"]), tier=int(row["tier"]), could_be=tuple(row.get("could_be") or ()), unsafe=unsafe
        )
        for row in raw or ()
        if (unsafe := estimate(row.get("unsafe"))) is not None
    ]
    return tuple(sorted(found, key=lambda responder: (responder.tier, responder.unsafe.value, responder.model)))


def _outcomes(raw: Any) -> tuple[tuple[str, int], ...]:
    """Counts in their fixed order, or nothing if nothing was counted."""
    counted = tuple((name, int((raw or {}).get(name, 0))) for name in _OUTCOMES)
    return counted if any(number for _, number in counted) else ()


def _costs(by_stage: Mapping[str, Mapping[str, Any]]) -> tuple[StageCost, ...]:
    return tuple(
        StageCost(
            stage=stage,
            calls=int(row.get("calls") or 0),
            tokens_in=int(row.get("tokens_in") or 0),
            tokens_out=int(row.get("tokens_out") or 0),
            usd=float(row.get("usd") or 0.0),
            seconds=row.get("seconds_total"),
        )
        for stage, row in by_stage.items()
    )
