from pydantic import Field

from spavl.config import Settings
from spavl.records import Sample
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "dataset",
    reads=(
        "taxonomy",
        "sourcing",
        "downloads",
        "selection",
        "captions",
        "questions",
        "question_verdicts",
        "responses",
        "verdicts",
        "pairs",
        "preferences",
    ),
    writes=Sample,
    does="keeps the pairs that can be trained on, audits the splits, writes the data set",
    version=8,
)


class LeaksConfig(Settings):
    """What counts as a leak between splits. Equal images and separated twins always do."""

    near_image_bits: int = Field(
        5,
        ge=0,
        le=32,
        description="images of two splits leak if fewer of their 64 hash bits differ; 0: equal images only",
    )
    question_similarity: float = Field(
        0.7,
        gt=0,
        le=1,
        description="questions of two splits, one of them training or validation, are listed as repeated if they share "
        "more of their words than this; 1: never",
    )
    drop: bool = Field(
        False, description="leave out the rows of leaking images instead of stopping; rows of the later split stay"
    )


class DatasetConfig(Settings):
    drop_unsafe_chosen: bool = Field(True, description="leave out pairs whose chosen answer is unsafe")
    drop_refusing_chosen: bool = Field(
        True, description="leave out pairs whose chosen answer refuses a harmless question: they train over-refusal"
    )
    test_questions_per_leaf: int = Field(
        5, ge=0, description="questions of HarmEval (harmful), and as many of HelpEval (harmless), for each leaf"
    )
    shard_mb: int = Field(500, ge=1, description="largest Parquet file of the data set, in MB")
    license: str = Field("other", description="license of the data set as hubs name it, such as cc-by-4.0")
    leaks: LeaksConfig = Field(LeaksConfig(), description="what counts as a leak between splits")
