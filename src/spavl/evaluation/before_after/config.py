"""The section [evaluation] of a build, and what of it each stage of the evaluation depends on."""

from typing import ClassVar

from pydantic import Field

from spavl.config import Settings
from spavl.evaluation.config import AnswersConfig, CanariesConfig, ItemsConfig, JudgementsConfig, PairwiseConfig
from spavl.judges.canaries.checks import ON_FAILURE, OnFailure
from spavl.judges.registry import GuardName, JudgeName
from spavl.models.uri import ModelName

# The names of the two models in the tables.
BEFORE, AFTER = ARMS = ("before", "after")


class BeforeAfterConfig(Settings):
    guard: GuardName = Field(
        "rules/miniature", description="who judges safety: rules/miniature, a model's name, or a published guard's"
    )
    judge: JudgeName = Field("rules/miniature", description="who compares before with after")
    before: ModelName = Field("miniature/base", description="the model before alignment")
    after: ModelName = Field("", description="the model after alignment; empty: the checkpoint this run trained")
    max_tokens: int = Field(512, ge=1, le=1_000_000, description="longest answer")
    temperature: float = Field(0.0, ge=0, le=2, description="0: the likeliest answer, the same each time")
    canaries: OnFailure = Field("stop", description=ON_FAILURE)
    max_invalid: float = Field(
        0.02,
        ge=0,
        le=1,
        description="a rate is withheld if more of its answers or comparisons than this share could not be judged; "
        "a single one withholds nothing, unless it is 0",
    )


class BuildCanariesConfig(CanariesConfig):
    option: ClassVar[str] = "--evaluation.canaries"


def of_items(_: BeforeAfterConfig) -> ItemsConfig:
    return ItemsConfig(suite=())


def of_canaries(config: BeforeAfterConfig) -> CanariesConfig:
    return BuildCanariesConfig(guard=(config.guard,), judge=config.judge, canaries=config.canaries)


def of_answers(config: BeforeAfterConfig) -> AnswersConfig:
    return AnswersConfig(
        models=(f"{BEFORE}={config.before}", f"{AFTER}={config.after}"),
        conditions=("real", "blank"),
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        baselines=False,
    )


def of_judgements(config: BeforeAfterConfig) -> JudgementsConfig:
    """Only the guard judges single answers. The judge compares answers, and no further calls of it are paid for."""
    return JudgementsConfig(guard=(config.guard,))


def of_pairwise(config: BeforeAfterConfig) -> PairwiseConfig:
    return PairwiseConfig(judge=config.judge, base=BEFORE)
