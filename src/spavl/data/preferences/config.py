from typing import Literal

from pydantic import Field

from spavl.config import Settings
from spavl.judges.canaries.checks import ON_FAILURE, OnFailure
from spavl.judges.registry import JudgeName
from spavl.judges.response_format import VERSION
from spavl.records import Preference
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "preferences",
    reads=("taxonomy", "selection", "questions", "responses", "verdicts", "pairs"),
    writes=Preference,
    does="has a judge that sees the image compare the two answers, in both orders",
    files=("judge", "second_judge"),
    version=1 + VERSION,
)


class PreferencesConfig(Settings):
    judge: JudgeName = Field(
        "rules/miniature", description="the judge: rules/miniature, a model's name, or prompt/FILE.txt/MODEL"
    )
    second_judge: JudgeName = Field(
        "", description="another judge of the same pairs; its agreement is reported, its choices are not used"
    )
    canaries: OnFailure = Field("stop", description=ON_FAILURE)
    judge_both_unsafe: bool | None = Field(
        None,
        description="judge pairs whose two answers are unsafe; not given: only where they can be "
        "used, with repair = safest "
        "or dataset.drop_unsafe_chosen = false",
    )
    repair: Literal["none", "swap", "safest"] = Field(
        "none",
        description="where the chosen answer is unsafe: none: the data set drops the pair; "
        "swap: choose the other answer if it is safe; "
        "safest: choose the safe answer of the question's safest responder, over the one that was chosen",
    )
