from typing import Literal

from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import Pair

PLAN = Plan(
    "pairs",
    reads=("questions", "verdicts"),
    writes=Pair,
    does="draws two answers from responders on different tiers of safety",
)


class PairsConfig(Settings):
    strategy: Literal["two_tiers", "random"] = Field(
        "two_tiers", description="two_tiers: answers from different tiers of safety, as in the paper; random: any two"
    )
    per_question: int = Field(1, ge=1, description="pairs drawn for each question")
    tier_edges: tuple[float, float, float, float] = Field(
        (0.1, 0.35, 0.6, 0.85), description="unsafe rates at which the five tiers of safety meet"
    )
