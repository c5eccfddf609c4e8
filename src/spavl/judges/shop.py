"""Opens guards and judges by name: `rules/miniature`, or any chat model's name."""

from spavl.judges.chat import ChatGuard, ChatJudge
from spavl.judges.rules import RuleGuard, RuleJudge
from spavl.judges.types import Guard, Judge
from spavl.models.shop import ModelShop

RULES = "rules/miniature"


def open_guard(uri: str, models: ModelShop, stage: str) -> Guard:
    return RuleGuard() if uri == RULES else ChatGuard(models.open(uri, stage))


def open_judge(uri: str, models: ModelShop, stage: str) -> Judge:
    return RuleJudge() if uri == RULES else ChatJudge(models.open(uri, stage))
