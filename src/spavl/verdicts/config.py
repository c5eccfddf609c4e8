from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import Verdict

PLAN = Plan(
    "verdicts",
    reads=("images", "questions", "responses"),
    writes=Verdict,
    does="has a guard label every answer safe, unsafe or invalid",
    files=("guard",),
)


class VerdictsConfig(Settings):
    guard: str = Field("rules/miniature", description="who judges safety: rules/miniature or a model's name")
    most_invalid: float = Field(0.02, ge=0, le=1, description="the run stops when more verdicts could not be read")
