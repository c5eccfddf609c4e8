"""Opens guards and judges by name.

rules/miniature                                       exact rules, for the miniature alone
openai/gpt-4o                                         any chat model, with the prompts of this room
md-judge/openai/OpenSafetyLab/MD-Judge-v0.1@URL       a published guard behind a server, in its own form
"""

from collections.abc import Callable

from spavl.errors import ConfigError
from spavl.judges.chat import ChatGuard, ChatJudge
from spavl.judges.published import LlamaGuard, MDJudge
from spavl.judges.rules import RuleGuard, RuleJudge
from spavl.judges.types import Guard, Judge
from spavl.models.shop import ModelShop
from spavl.models.types import ChatModel

RULES = "rules/miniature"
PUBLISHED: dict[str, Callable[[ChatModel], Guard]] = {
    "md-judge": MDJudge,
    "llama-guard-3": lambda model: LlamaGuard(model, sees=False),
    "llama-guard-3-vision": lambda model: LlamaGuard(model, sees=True),
    "llama-guard-4": lambda model: LlamaGuard(model, sees=True),
}


def is_rules(uri: str) -> bool:
    """Whether this guard or judge is code of ours, which asks no model."""
    return uri.startswith("rules/")


def open_guard(uri: str, models: ModelShop, stage: str) -> Guard:
    if uri == RULES:
        return RuleGuard()
    kind, _, model = uri.partition("/")
    return PUBLISHED.get(kind, ChatGuard)(models.open(model if kind in PUBLISHED else uri, stage))


def open_judge(uri: str, models: ModelShop, stage: str) -> Judge:
    if uri == RULES:
        return RuleJudge()
    if uri.partition("/")[0] in PUBLISHED:
        then = "name a chat model as judge, such as openai/gpt-4o, and this one as verdicts.guard"
        raise ConfigError("this is a guard, which judges one answer and cannot compare two", where=uri, then=then)
    return ChatJudge(models.open(uri, stage))
