from pydantic import Field

from spavl.config import Settings
from spavl.judges.canaries.checks import ON_FAILURE, OnFailure
from spavl.judges.response_format import VERSION
from spavl.records import Duel, Score
from spavl.stages.spec import StageSpec

PLAN = StageSpec(
    "evaluation",
    reads=("taxonomy", "selection", "questions", "question_verdicts", "training"),
    writes=Score,
    does="asks the model before and after about images no training saw",
    files=("guard", "before", "after"),
    version=1 + VERSION,
)
DUELS = StageSpec(
    "duels",
    reads=("taxonomy", "selection", "questions", "question_verdicts", "evaluation"),
    writes=Duel,
    does="compares the helpfulness of before and after on harmless questions",
    files=("judge",),
    version=1 + VERSION,
)


class BeforeAfterConfig(Settings):
    guard: str = Field(
        "rules/miniature", description="who judges safety: rules/miniature, a model's name, or a published guard's"
    )
    judge: str = Field("rules/miniature", description="who compares before with after")
    before: str = Field("miniature/base", description="the model before alignment")
    after: str = Field("", description="the model after alignment; empty: the checkpoint this run trained")
    max_tokens: int = Field(512, ge=1, description="longest answer")
    temperature: float = Field(0.0, ge=0, le=2, description="0: the likeliest answer, the same each time")
    canaries: OnFailure = Field("stop", description=ON_FAILURE)
    max_invalid: float = Field(
        0.02,
        ge=0,
        le=1,
        description="a rate is withheld if more of its answers or comparisons than this share could not be judged; "
        "a single one withholds nothing, unless it is 0",
    )
