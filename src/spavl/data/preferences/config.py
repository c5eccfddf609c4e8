from typing import Literal

from pydantic import Field

from spavl.config import Settings
from spavl.judges.canaries.checks import ON_FAILURE, OnFailure
from spavl.judges.response_format import VERSION
from spavl.records import Preference
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "preferences",
    reads=("taxonomy", "selection", "questions", "responses", "verdicts", "pairs"),
    writes=Preference,
    does="has a judge that sees the image compare the two, in both orders",
    files=("judge", "second_judge"),
    version=1 + VERSION,
)


class PreferencesConfig(Settings):
    judge: str = Field(
        "rules/miniature", description="who compares answers: rules/miniature, a model's name, or prompt/FILE.txt/MODEL"
    )
    second_judge: str = Field("", description="another judge of the same pairs; it is measured, never obeyed")
    canaries: OnFailure = Field("stop", description=ON_FAILURE)
    judge_both_unsafe: bool | None = Field(
        None,
        description="whether pairs whose two answers the guard found unsafe are judged; as usual only where something "
        "comes of them: with repair = safest, or dataset.drop_unsafe_chosen = false",
    )
    repair: Literal["none", "swap", "safest"] = Field(
        "none",
        description="where the chosen answer is unsafe: none leaves it, and the data set drops it; "
        "swap chooses the other answer if it is safe; "
        "safest chooses the safe answer of the question's safest responder, over the one that was chosen",
    )
