"""The settings of a study: what all its cells share, what they differ in, and what is compared."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from spavl.config import ADDED_LATER, LARGEST, Settings, split_at_commas
from spavl.evaluation.config import GuardNames, Names
from spavl.evaluation.metrics.result_table import Metric
from spavl.evaluation.metrics.win_rates import PairwiseMetric
from spavl.judges.registry import JudgeName
from spavl.models.remote_code import WHO_IS_TRUSTED, TrustedNames
from spavl.models.uri import ModelName
from spavl.records import Contrast, QuestionKind
from spavl.training.config import TrainingConfig

V = TypeVar("V")
# The arm of each model before any training, which every study has.
BASE = "untrained"
# Models that answered the questions, by the share of their answers that is unsafe: thirds of the pool.
ResponderTier = Literal["all", "safe", "relatively_safe", "unsafe"]
# Why the build of a data set has left out a pair that its judge has decided.
LeftOut = Literal["inconsistent", "unsafe_chosen"]
Analysis = Literal["table", "curve", "front", "unseen", "bias"]


def _as_list(value: object) -> object:
    return split_at_commas(value) if isinstance(value, str) else value


def _each_once(values: tuple[V, ...]) -> tuple[V, ...]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"holds {value} twice")
    return values


class PairSelection(Settings):
    """Which pairs of the data set a cell trains on. Every criterion that is set must hold."""

    source: str = Field("", description="the data set, by its name in --data; empty: the first one")
    pairs: int | None = Field(
        None, ge=1, description="so many pairs, drawn by the seed; of two sizes the smaller is a part of the larger"
    )
    kinds: tuple[QuestionKind, ...] = Field((), description="only questions of these kinds")
    contrasts: tuple[Contrast, ...] = Field((), description="only pairs of these contrasts")
    responders: ResponderTier = Field(
        "all", description="only pairs whose two answers are of models in this third of the pool, by unsafe answers"
    )
    responder_count: int | None = Field(
        None, ge=1, description="only pairs whose answers are of so many models, drawn by the seed"
    )
    only: tuple[str, ...] = Field((), description="only these leaves, classes and domains")
    without: tuple[str, ...] = Field((), description="all but these leaves, classes and domains")
    unsafe_chosen: Literal["keep", "drop"] = Field(
        "keep", description="pairs whose chosen answer the guard calls unsafe: keep or drop"
    )
    add: tuple[LeftOut, ...] = Field(
        (),
        json_schema_extra=ADDED_LATER,
        description="pairs that spavl build has left out: inconsistent, those whose winner changes with the order of "
        "the answers, as judged in the first order; unsafe_chosen, those whose chosen answer is unsafe",
    )
    balanced: bool = Field(
        False, description="drop pairs until refusal, length and first word tell the chosen answer no more"
    )
    noise: float = Field(0.0, ge=0, le=0.5, description="share of the pairs whose answers are swapped")


def _of_one_model(training: dict[str, Any]) -> dict[str, Any]:
    if "model" in training:
        raise ValueError("has no model of its own: the models to train are those of --model")
    return training


# Settings of the training before anything is taken from a preset.
TrainingTable = Annotated[dict[str, Any], AfterValidator(_of_one_model)]


class AxesConfig(Settings):
    """Settings with a list of values each; the values are checked where an arm is made of them."""

    selection: dict[str, Any] = Field({}, description="lists of values for settings of the selection")
    training: TrainingTable = Field({}, description="lists of values for settings of the training")


class ArmConfig(Settings):
    """The settings of one arm that differ from the study's. A number may be a factor, such as "x3"."""

    after: str = Field(
        "", description="the arm above it whose trained model it begins with; empty: the untrained model itself"
    )
    selection: dict[str, Any] = Field({}, description="settings of the selection")
    training: TrainingTable = Field({}, description="settings of the training")


class MeasureConfig(Settings):
    """How each cell is evaluated: settings of `spavl eval`."""

    suite: Names = Field(("run",), description="suites or benchmarks, commas between them")
    benchmarks: Names = Field(
        (),
        description="the folder of the benchmarks' data, or NAME=FOLDER for one of them; empty: the test questions of "
        "the study's own data",
    )
    limit: int | None = Field(None, ge=1, description="a subset: only so many items of each benchmark")
    guard: GuardNames = Field((), description="guards, named as verdicts.guard; the first one is reported")
    judge: JudgeName = Field("", description="the judge of refusals and criteria, named as preferences.judge")
    max_invalid: float = Field(
        0.02, ge=0, le=1, description="a rate of a cell is withheld if a larger share of its answers has no verdict"
    )
    max_tokens: int = Field(512, ge=1, le=1_000_000, description="longest answer, in tokens")
    in_flight: int = Field(256, ge=1, description="items of a model in flight")


class Expectation(Settings):
    """A finding of the paper as an order of two arms, which the study's own numbers confirm or not."""

    lower: str = Field(description="the arm with the lower rate")
    higher: str = Field(description="the arm with the higher rate")
    metric: Metric | PairwiseMetric = Field(description="the rate that is compared, such as unsafe")
    paper: str = Field(description="where the paper says it, with its numbers")


# Settings that published trainings begin with, and those of the miniature's demo; one table for each algorithm.
Preset = Literal["", "miniature", "spa-vl", "spa-vl-lora"]


class StudyConfig(Settings):
    """A study, as its file and the command line say it."""

    question: str = Field("", description="what the study asks, in one sentence")
    analysis: Analysis = Field(
        "table",
        description="what is made of the arms: a table; a curve over selection.pairs; the Pareto front of "
        "safety, refusals and help; a split of the items into unseen and seen leaves; or shortcuts and groups (bias)",
    )
    model: Annotated[tuple[ModelName, ...], BeforeValidator(_as_list), AfterValidator(_each_once)] = Field(
        (), description="the models to train: folders, runs, hub ids or miniature/base"
    )
    data: tuple[str, ...] = Field((), description="the data set, a run or a folder; NAME=FOLDER adds one by a name")
    at_once: int = Field(0, ge=0, description="so many cells at once; 0: one on each GPU, or as memory and cores allow")
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=LARGEST)], ...], AfterValidator(_each_once)] = Field(
        (1, 2, 3), min_length=1, description="the seeds of each arm"
    )
    control: str = Field(BASE, description="the arm that the others are compared with")
    equal_size: bool = Field(False, description="train every arm on as many pairs as the smallest one has")
    equal_arms: tuple[str, ...] = Field((), description="the arms that equal_size is about; empty: all")
    axes: AxesConfig = Field(AxesConfig(), description="settings, each with a list of values; the arms are the product")
    arms: dict[str, ArmConfig] = Field({}, description="arms by name, each with its settings")
    preset: Preset = Field(
        "",
        description="what the training begins with: miniature, spa-vl or spa-vl-lora, by algorithm; empty: miniature "
        "for its models; for others spa-vl if the whole language model is trained, else spa-vl-lora",
    )
    selection: PairSelection = Field(PairSelection(), description="the pairs that all arms have in common")
    training: TrainingConfig = Field(TrainingConfig(), description="the training of all arms")
    measure: MeasureConfig = Field(MeasureConfig(), description="the evaluation of all arms")
    expectations: tuple[Expectation, ...] = Field((), description="what the paper found, as orders of two arms")
    trust_remote_code: TrustedNames = Field((), description=WHO_IS_TRUSTED)


class CellConfig(Settings):
    """All that the weights of one cell depend on. `training` is None for a model that is not trained."""

    model: str = Field(description="the model to train")
    selection: PairSelection = Field(description="the pairs")
    training: TrainingConfig | None = Field(description="the training")
    seed: int = Field(description="the seed of the training, and of what is drawn of the pairs")
    after: str = Field(
        "",
        json_schema_extra=ADDED_LATER,
        description="the id of the cell whose trained model it begins with; empty: the model itself",
    )
