from pydantic import Field

from spavl.config import Settings
from spavl.data.pairs.strategies import Strategy
from spavl.records import Pair
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "pairs",
    reads=("questions", "verdicts"),
    writes=Pair,
    does="draws two answers to a question by a strategy, such as from different tiers",
    version=2,
)

_STRATEGIES = (
    "how two answers are drawn, one name or a list of them; "
    "two_tiers: of responders on different tiers, as in the paper; "
    "largest_contrast: as many tiers apart as can be; random: any two; "
    "safe_safe: two safe ones, to train helpfulness; "
    "bag_safe, bag_relatively_safe, bag_unsafe, bag_all: within one of the paper's bags"
)


class PairsConfig(Settings):
    strategy: tuple[Strategy, ...] = Field(("two_tiers",), min_length=1, description=_STRATEGIES)
    per_question: int = Field(1, ge=1, le=1_000, description="pairs drawn for each question by each strategy")
    tier_edges: tuple[float, float, float, float] = Field(
        (0.1, 0.35, 0.6, 0.85), description="unsafe rates that separate the five tiers"
    )
