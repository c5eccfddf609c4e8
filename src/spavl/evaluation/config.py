"""The settings of an evaluation: one class for the TOML file and the command line, one part of it for each stage."""

import re
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field

from spavl.config import Settings
from spavl.errors import ConfigError
from spavl.evaluation.model_names import models_by_name
from spavl.evaluation.records import Answer, Item, Judgement, Overlap, PairwiseResult
from spavl.judges.canaries.checks import ON_FAILURE, CanaryResult, OnFailure
from spavl.judges.response_format import VERSION
from spavl.models.model_settings import ModelSettings, check_named_somewhere
from spavl.models.names import without_addresses
from spavl.models.remote_code import WHO_IS_TRUSTED, TrustedNames
from spavl.models.wrappers.rate_limit import BatchConfig, PaceConfig
from spavl.stages.spec import StageSpec

# In a build the items come of its own questions, and the second model of its own training.
ITEMS = StageSpec(
    "items",
    reads=("selection", "questions", "question_verdicts"),
    writes=Item,
    does="reads what is asked: the files of benchmarks, or a build's questions about images that no training saw",
    files=("data",),
    version=5,
)
CANARIES = StageSpec(
    "canaries",
    reads=("items",),
    writes=CanaryResult,
    does="puts answers whose verdict is plain to every guard and judge, before anything is paid",
    files=("guard",),
    version=1 + VERSION,
)
ANSWERS = StageSpec(
    "answers",
    reads=("items", "training"),
    writes=Answer,
    does="asks every model every item, as it is and with its image or its words changed",
    files=("models", "paraphrases"),
)
JUDGEMENTS = StageSpec(
    "judgements",
    # What was said by a judge that failed the canaries is not said by one that passes them.
    reads=("items", "canaries", "answers"),
    writes=Judgement,
    does="has every judge and every rule mark every answer",
    files=("guard", "gold_answers"),
    version=3 + VERSION,
)
PAIRWISE = StageSpec(
    "pairwise",
    reads=("items", "canaries", "answers"),
    writes=PairwiseResult,
    does="compares each model's answers with the base's, in both orders",
    files=("judge",),
    version=3 + VERSION,
)
OVERLAPS = StageSpec(
    "overlaps",
    reads=("items",),
    writes=Overlap,
    does="looks for the items among what a model was trained on",
    files=("train",),
    version=5,
)

Condition = Literal["real", "blank", "none", "shuffled", "noise", "blur", "first_word", "typos", "paraphrase"]
S = TypeVar("S", bound=Settings)
# What stands in an image's place, and what makes it harder to see; the others change words.
OF_IMAGES: tuple[Condition, ...] = ("blank", "none", "shuffled")
DAMAGED: tuple[Condition, ...] = ("noise", "blur")


def _names(value: object) -> object:
    """Names as one types them: several in one word, with commas between them."""
    # A comma before an address stands between two of one model.
    names = re.split(r",(?!https?://)", value) if isinstance(value, str) else ()
    return tuple(filter(None, (name.strip() for name in names))) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class ItemsConfig(Settings):
    suite: Names = Field(("safety",), description="suites or benchmarks, commas between them")
    data: Names = Field(
        (), description="the folder of the benchmarks' data, one folder in it for each; or NAME=FOLDER for one of them"
    )
    limit: int | None = Field(None, ge=1, description="a small trial: so many items of each benchmark")


class AnswersConfig(Settings):
    models: Names = Field((), description="the models that are tested; NAME=MODEL gives one a shorter name")
    conditions: Annotated[tuple[Condition, ...], BeforeValidator(_names)] = Field(
        ("real",),
        description="how they are asked: real, blank, none, shuffled, noise, blur, first_word, typos, paraphrase",
    )
    paraphrases: str = Field(
        "", description="who writes paraphrases: a model, or a file of JSON lines {question, paraphrase}"
    )
    baselines: bool = Field(
        True, description="whether two models that always refuse and always comply are evaluated too, at no cost"
    )
    samples: int = Field(1, ge=1, description="answers of a model to an item; more than one wants a temperature")
    temperature: float = Field(0.0, ge=0, le=2, description="0: the likeliest answer, the same each time")
    max_tokens: int = Field(512, ge=1, description="longest answer")


class JudgeConfig(Settings):
    judge: str = Field(
        "",
        description="who compares answers, as preferences.judge names it; a chat model also judges by a benchmark's "
        "own criteria, and tells refusals",
    )


class JudgementsConfig(JudgeConfig):
    guard: Names = Field(
        (), description="who judges safety, as verdicts.guard names it; of several, the first one's word is reported"
    )
    gold_answers: str = Field(
        "",
        description="answers whose truth is known, on which the guards are tried: JSON lines, or miniature",
    )


class CanariesConfig(JudgementsConfig):
    # What a user types to go on.
    option: ClassVar[str] = "--canaries"

    canaries: OnFailure = Field("stop", description=ON_FAILURE)


class PairwiseConfig(JudgeConfig):
    base: str = Field(
        "",
        description="the model that the others are compared with, by the name it has here (empty: the first one); "
        "or `reference`, the answers that a benchmark brings",
    )


class AuditConfig(Settings):
    train: str = Field("", description="what the models were trained on: a run, or a folder of Parquet files")
    near_image_bits: int = Field(
        5, ge=0, le=32, description="an image was seen if fewer of its hash's 64 bits differ; 0: equal ones only"
    )
    question_similarity: float = Field(
        0.7,
        gt=0,
        le=1,
        description="a question was seen if it shares more of its words with one of them, and so was an item that has "
        "no image or a plain one; 1: never",
    )


class ServersConfig(Settings):
    in_flight: int = Field(256, ge=1, description="items of a model in work at the same time")
    prices: dict[str, tuple[float, float]] = Field(
        {},
        description='USD per million tokens, [in, out], by NAME or openai/NAME@URL: {"gpt-4.1" = [2.0, 8.0]}; wins '
        "over the table that ships",
    )
    batch: BatchConfig = Field(BatchConfig(), description="which calls go through batches, at half the price")
    pace: PaceConfig = Field(PaceConfig(), description="how fast each model of a server is asked")


class EvaluationConfig(ItemsConfig, AnswersConfig, CanariesConfig, PairwiseConfig):
    """All settings of an evaluation: the same thing in a TOML file and on the command line."""

    seed: int = Field(1, ge=0, description="everything random comes from this number")
    budget_usd: float | None = Field(None, ge=0, description="hard spend stop for the whole evaluation, in USD")
    gold_guard: str = Field(
        "",
        description="the guard that is never wrong, as one of these; from which the others' errors are told",
    )
    max_invalid: float = Field(
        0.02,
        ge=0,
        le=1,
        description="a rate is withheld if more of its answers than this share are not known; a single one withholds "
        "nothing, unless it is 0",
    )
    model_settings: dict[str, ModelSettings] = Field(
        {},
        description="how single models are asked wherever they are named, by openai/NAME@URL, openai/NAME or hf/PATH: "
        "max_tokens, reasoning_effort, chat_template_kwargs, extra_body",
    )
    trust_remote_code: TrustedNames = Field((), description=WHO_IS_TRUSTED)
    contamination: AuditConfig = Field(AuditConfig(), description="whether the items were trained on")
    servers: ServersConfig = Field(ServersConfig(), description="how servers are asked, and what they cost")


def resolved(config: EvaluationConfig) -> EvaluationConfig:
    """The settings with the base named, if it was left open."""
    if config.samples > 1 and not config.temperature:
        then = "give a temperature too, such as --temperature 0.7"
        raise ConfigError("several samples at temperature 0 are all the same", where="--samples", then=then)
    check_named_somewhere(config.model_settings, config)
    tested = list(models_by_name(config.models))
    base = without_addresses(config.base) or (tested[0] if tested else "")
    return config if base == config.base else config.model_copy(update={"base": base})


def part(config: EvaluationConfig, kind: type[S]) -> S:
    """What of an evaluation's settings a stage's rows hang on."""
    return kind.model_validate({name: getattr(config, name) for name in kind.model_fields})
