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
    does="keeps the pairs that can teach, audits the splits, writes the data set",
    version=8,
)


class LeaksConfig(Settings):
    """What counts as a leak between splits. Equal images, and twins that were parted, always do."""

    near_image_bits: int = Field(
        5, ge=0, le=32, description="images of two splits leak if fewer of their hash's 64 bits differ; 0: equal ones"
    )
    question_similarity: float = Field(
        0.7,
        gt=0,
        le=1,
        description="questions of two splits are listed as repeated if they share more of their words, one of a split "
        "that is learnt from; 1: never",
    )
    drop: bool = Field(
        False, description="leave out the rows of leaking images instead of stopping; those of the later split stay"
    )


class DatasetConfig(Settings):
    drop_unsafe_chosen: bool = Field(True, description="leave out pairs whose better answer is still unsafe")
    drop_refusing_chosen: bool = Field(
        True, description="leave out pairs whose better answer refuses a harmless question: they teach over-refusal"
    )
    test_questions_per_leaf: int = Field(
        5, ge=0, description="questions of HarmEval (harmful) and of HelpEval (harmless), each, for each leaf"
    )
    shard_mb: int = Field(500, ge=1, description="largest Parquet file of the data set, in MB")
    license: str = Field("other", description="license of the data set as hubs name it, such as cc-by-4.0")
    leaks: LeaksConfig = Field(LeaksConfig(), description="what counts as a leak between splits")
