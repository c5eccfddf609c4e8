"""The settings and stages of an evaluation; each stage has its part of the settings."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field

from spavl.config import Settings, split_at_commas
from spavl.errors import ConfigError
from spavl.evaluation.model_names import models_by_name, name_among, named_model
from spavl.evaluation.records import Answer, Item, Judgement, Overlap, PairwiseResult, PublishedJudgement
from spavl.judges.canaries.checks import ON_FAILURE, CanaryResult, OnFailure
from spavl.judges.registry import GuardName, JudgeName
from spavl.judges.response_format import VERSION
from spavl.models.model_settings import ModelSettings, check_named_somewhere
from spavl.models.remote_code import WHO_IS_TRUSTED, TrustedNames
from spavl.models.uri import model_uri, of_settings
from spavl.models.wrappers.rate_limit import BatchConfig, PaceConfig
from spavl.stages.spec import StageSpec

# In a build the items are its own test questions, and the second model is its own checkpoint.
ITEMS = StageSpec(
    "items",
    reads=("selection", "questions", "question_verdicts"),
    writes=Item,
    does="reads the items: of benchmark files, or of a build's test and held-out questions",
    files=("data",),
    version=5,
)
CANARIES = StageSpec(
    "canaries",
    reads=("items",),
    writes=CanaryResult,
    does="tests every guard and judge on answers whose verdict is obvious, before anything is paid",
    files=("guard",),
    version=1 + VERSION,
)
ANSWERS = StageSpec(
    "answers",
    reads=("items", "training"),
    writes=Answer,
    does="asks every model every item, under every condition",
    files=("models", "paraphrases"),
)
JUDGEMENTS = StageSpec(
    "judgements",
    # Depends on the canaries, so that verdicts of a judge that failed them are not reused for one that passes.
    reads=("items", "canaries", "answers"),
    writes=Judgement,
    does="has every guard, judge and rule judge every answer",
    files=("guard", "gold_answers"),
    version=3 + VERSION,
)
PAIRWISE = StageSpec(
    "pairwise",
    reads=("items", "canaries", "answers"),
    writes=PairwiseResult,
    does="has a judge compare each model's answers with the base's, in both orders",
    files=("judge",),
    version=3 + VERSION,
)
AS_PUBLISHED = StageSpec(
    "as_published",
    reads=("items", "answers"),
    writes=PublishedJudgement,
    does="judges the same answers by published protocols: their own rules, prompts and judges",
    # The authors' prompts and answers may be in the folders of the data.
    files=("data",),
)
OVERLAPS = StageSpec(
    "overlaps",
    reads=("items",),
    writes=Overlap,
    does="finds items in the training data",
    files=("train",),
    version=5,
)

Condition = Literal["real", "blank", "none", "shuffled", "noise", "blur", "first_word", "typos", "paraphrase"]
ProtocolName = Literal["spa-vl", "mm-safetybench", "vlguard", "advbench", "published"]
S = TypeVar("S", bound=Settings)
# Conditions that replace the image, and those that damage it; the others change the text.
OF_IMAGES: tuple[Condition, ...] = ("blank", "none", "shuffled")
DAMAGED: tuple[Condition, ...] = ("noise", "blur")


def _names(value: object) -> object:
    return split_at_commas(value) if isinstance(value, str) else value


def _model_or_file(name: str) -> str:
    return name if Path(name).is_file() else model_uri(name)


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
ModelNames = Annotated[tuple[Annotated[str, of_settings(named_model)], ...], BeforeValidator(_names)]
GuardNames = Annotated[tuple[GuardName, ...], BeforeValidator(_names)]


class ItemsConfig(Settings):
    suite: Names = Field(("safety",), description="suites or benchmarks, commas between them")
    data: Names = Field(
        (), description="the folder of the benchmarks' data, one folder in it for each; or NAME=FOLDER for one of them"
    )
    limit: int | None = Field(None, ge=1, description="a subset: only so many items of each benchmark")


class AnswersConfig(Settings):
    models: ModelNames = Field((), description="the models to evaluate; NAME=MODEL gives one a shorter name")
    conditions: tuple[Condition, ...] = Field(
        ("real",),
        description="how items are asked: real, blank, none, shuffled, noise, blur, first_word, typos, paraphrase",
    )
    paraphrases: Annotated[str, of_settings(_model_or_file)] = Field(
        "", description="source of paraphrases: a model, or a file of JSON lines {question, paraphrase}"
    )
    baselines: bool = Field(
        True,
        description="evaluate two baselines too, one that always refuses and one that always complies, on at most 100 "
        "items of each benchmark; their answers cost nothing, their judgements do",
    )
    samples: int = Field(
        1, ge=1, le=1_000, description="answers of a model to each item; more than one needs a temperature"
    )
    temperature: float = Field(0.0, ge=0, le=2, description="sampling temperature; 0: greedy")
    max_tokens: int = Field(512, ge=1, le=1_000_000, description="longest answer, in tokens")


class JudgeConfig(Settings):
    judge: JudgeName = Field(
        "",
        description="the judge that compares answers, named as preferences.judge; a chat model also "
        "applies a benchmark's "
        "own criteria and classifies refusals",
    )


class GuardsConfig(JudgeConfig):
    guard: GuardNames = Field(
        (), description="guards, named as verdicts.guard; the verdicts of the first one are reported"
    )


class JudgementsConfig(GuardsConfig):
    gold_answers: str = Field(
        "",
        description="answers with known labels on which the guards are measured: a file of JSON lines, or miniature",
    )


class CanariesConfig(JudgementsConfig):
    # The option with which the user goes on after a failure.
    option: ClassVar[str] = "--canaries"

    canaries: OnFailure = Field("stop", description=ON_FAILURE)


class PairwiseConfig(JudgeConfig):
    base: str = Field(
        "",
        description="the model that the others are compared with, by its name here (empty: the first one), or "
        "`reference`, the answers that a benchmark ships",
    )


class ProtocolConfig(Settings):
    protocol: tuple[ProtocolName, ...] = Field(
        (),
        description="published protocols by which the same answers are judged too: spa-vl, mm-safetybench, vlguard, "
        "advbench, or published for all of them",
    )


class AsPublishedConfig(ItemsConfig, GuardsConfig, PairwiseConfig, ProtocolConfig):
    """What the judgements of published protocols depend on."""


class AuditConfig(Settings):
    train: str = Field("", description="the training data: a run, or a folder of tables")
    near_image_bits: int = Field(
        5, ge=0, le=32, description="an image was trained on if fewer of its 64 hash bits differ; 0: equal images only"
    )
    question_similarity: float = Field(
        0.7,
        gt=0,
        le=1,
        description="a question was trained on if it shares a larger share of its words with a training question; so "
        "was its item if it has no image, or a plain one; 1: never",
    )


class ServersConfig(Settings):
    in_flight: int = Field(256, ge=1, description="items of a model in flight")
    prices: dict[str, tuple[float, float]] = Field(
        {},
        description='USD per million tokens, [in, out], by NAME or openai/NAME@URL: {"gpt-4.1" = [2.0, 8.0]}; wins '
        "over the table that ships",
    )
    batch: BatchConfig = Field(BatchConfig(), description="which models are called through batches, at half the price")
    pace: PaceConfig = Field(PaceConfig(), description="rate limits of servers")


class EvaluationConfig(ItemsConfig, AnswersConfig, CanariesConfig, PairwiseConfig, ProtocolConfig):
    """All settings of an evaluation, in a TOML file or on the command line."""

    seed: int = Field(1, ge=0, description="seed of everything random")
    budget_usd: float | None = Field(None, ge=0, description="hard spend stop for the whole evaluation, in USD")
    gold_guard: GuardName = Field(
        "",
        description="a guard, one of --guard, used as ground truth for the errors of the others",
    )
    max_invalid: float = Field(
        0.02,
        ge=0,
        le=1,
        description="a rate is withheld if a larger share of its answers has no verdict; a single answer withholds "
        "nothing, unless it is 0",
    )
    model_settings: dict[str, ModelSettings] = Field(
        {},
        description="how single models are asked wherever they are named, by openai/NAME@URL, openai/NAME or hf/PATH: "
        "max_tokens, reasoning_effort, chat_template_kwargs, extra_body",
    )
    trust_remote_code: TrustedNames = Field((), description=WHO_IS_TRUSTED)
    contamination: AuditConfig = Field(AuditConfig(), description="search for the items in the training data")
    servers: ServersConfig = Field(ServersConfig(), description="rate limits, prices and batches of servers")


def resolve_evaluation_config(config: EvaluationConfig) -> EvaluationConfig:
    """The settings with the first model as base, if none is set. Raises if settings contradict each other."""
    if config.samples > 1 and not config.temperature:
        then = "set a temperature, such as --temperature 0.7"
        raise ConfigError("several samples at temperature 0 are identical", where="--samples", then=then)
    if not config.suite:
        raise ConfigError("no benchmark is named", where="--suite", then="name one or more, such as --suite safety")
    if nameless := [each for each in config.models if each.endswith("=") or not each]:
        then = "name a model behind it, as in NAME=MODEL; in a script, check that the variable is set"
        raise ConfigError("no model is named here", where=f"models = {nameless[0]!r}", then=then)
    check_named_somewhere(config.model_settings, config)
    tested = models_by_name(config.models)
    base = name_among(tested, config.base) if config.base else next(iter(tested), "")
    return config if base == config.base else config.model_copy(update={"base": base})


def part(config: EvaluationConfig, kind: type[S]) -> S:
    """The part of an evaluation's settings that a stage's rows depend on."""
    return kind.model_validate({name: getattr(config, name) for name in kind.model_fields})
