from pydantic import Field

from spavl.config import Settings
from spavl.judges.canaries import ON_FAILURE, OnFailure
from spavl.judges.forms import VERSION
from spavl.plan import Plan
from spavl.records import Verdict

PLAN = Plan(
    "verdicts",
    reads=("images", "questions", "responses"),
    writes=Verdict,
    does="has a guard label every answer, and the question, safe, unsafe or invalid",
    files=("guard",),
    version=1 + VERSION,
)


class VerdictsConfig(Settings):
    guard: str = Field(
        "rules/miniature",
        description="who judges safety: rules/miniature, a model's name, a published guard's, or prompt/FILE.txt/MODEL",
    )
    canaries: OnFailure = Field("stop", description=ON_FAILURE)
    most_invalid: float = Field(0.02, ge=0, le=1, description="the run stops when more verdicts could not be read")
