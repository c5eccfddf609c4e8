from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import Preference

PLAN = Plan(
    "preferences",
    reads=("images", "questions", "responses", "pairs"),
    writes=Preference,
    does="has a judge that sees the picture compare the two, in both orders",
    files=("judge",),
)


class PreferencesConfig(Settings):
    judge: str = Field("rules/miniature", description="who compares answers: rules/miniature or a model's name")
