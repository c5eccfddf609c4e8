"""Opens guards and judges by name.

rules/miniature                                       exact rules, only for the miniature
openai/gpt-4o-2024-08-06                              any chat model, with the prompts of this package
prompt/my-prompt.txt/openai/gpt-4o-2024-08-06         a chat model as guard or judge, with the user's own prompt
md-judge/openai/OpenSafetyLab/MD-Judge-v0.1@URL       a published guard behind a server, in its own form
criteria/openai/gpt-4o-2024-08-06                     a chat model as guard by MM-SafetyBench's criterion for each item
criterion/legal/openai/gpt-4o-2024-08-06              the same by one criterion for all items
keywords/gcg@2                                        a list of keywords, as a diagnostic

A new guard or judge is one line in one of the tables below: by its full name if it calls no model (RULE_GUARDS,
RULE_JUDGES), by the form in which it asks a model otherwise (FORMS).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

from spavl.errors import ConfigError
from spavl.judges.chat import ChatGuard, ChatJudge
from spavl.judges.guards.criteria import CriteriaGuard, CriterionGuard
from spavl.judges.guards.custom_prompt import CustomPromptGuard, CustomPromptJudge, own_in
from spavl.judges.guards.keyword import LISTS, KeywordGuard
from spavl.judges.guards.miniature_rules import RuleGuard, RuleJudge
from spavl.judges.guards.published import GradedMDJudge, HarmBench, LlamaGuard, MDJudge
from spavl.judges.refusal_judge import ChatRefusalJudge
from spavl.judges.types import Guard, Judge, ModelOpener, RefusalJudge
from spavl.models.types import ChatModel
from spavl.models.uri import KINDS, model_uri, of_settings
from spavl.text.nearest import nearest

RULES = "rules/miniature"
# Guards and judges that call no model, by name.
RULE_GUARDS: dict[str, Callable[[], Guard]] = {
    RULES: RuleGuard,
    **{name: partial(KeywordGuard, name) for name in LISTS},
}
RULE_JUDGES: dict[str, Callable[[], Judge]] = {
    RULES: RuleJudge,
}
# Guards by the form in which a model is asked.
FORMS: dict[str, Callable[[ChatModel], Guard]] = {
    "md-judge": MDJudge,
    "md-judge-v0.2": GradedMDJudge,
    "llama-guard-3": lambda model: LlamaGuard(model, sees=False),
    "llama-guard-3-vision": lambda model: LlamaGuard(model, sees=True),
    "llama-guard-4": lambda model: LlamaGuard(model, sees=True),
    "criteria": CriteriaGuard,
    "harmbench": lambda model: HarmBench(model, of_images=False),
    "harmbench-multimodal": lambda model: HarmBench(model, of_images=True),
}
_CRITERION, _PROMPT = "criterion", "prompt"


def guard_uri(name: str) -> str:
    """The canonical URI of a guard or judge: the form in which it is asked, if it has one, and the URI of its model."""
    kind, _, rest = name.partition("/")
    if not name or is_rules(name):
        return name
    if f"{rest}/{kind}" in (*RULE_GUARDS, *RULE_JUDGES):
        then = f"did you mean {rest}/{kind}?"
        raise ConfigError(f"no such guard or judge: {name!r}", where=name, then=then)
    if kind == _PROMPT:
        own = own_in(name)
        return f"{_PROMPT}/{own.file}/{model_uri(own.model)}" if own else name
    if kind == _CRITERION:
        criterion, _, model = rest.partition("/")
        return f"{kind}/{criterion}/{model_uri(model)}"
    if kind in FORMS:
        return f"{kind}/{model_uri(rest)}"
    if kind not in KINDS and not Path(name).exists() and (near := _near(name)):
        then = f"did you mean {' or '.join(near)}? a model of the hub is hf/{name}"
        raise ConfigError(f"no such guard or judge: {name!r}", where=name, then=then)
    return model_uri(name)


def _near(name: str) -> list[str]:
    """The names of guards and judges that the user may have meant."""
    kind, _, rest = name.partition("/")
    rules = dict.fromkeys((*RULE_GUARDS, *RULE_JUDGES))
    near = list[str]()
    for meant in nearest(kind, (*FORMS, _CRITERION, _PROMPT, *(rule.partition("/")[0] for rule in rules))):
        if own := [rule for rule in rules if rule.startswith(f"{meant}/")]:
            near += nearest(f"{meant}/{rest}", own)[:1] or (own if meant == kind else [])
        else:
            near.append(f"{meant}/{rest}")
    return near


GuardName = Annotated[str, of_settings(guard_uri)]
JudgeName = GuardName


def is_rules(uri: str) -> bool:
    """Whether this guard or judge is code of this package, which calls no model."""
    return uri in RULE_GUARDS or uri in RULE_JUDGES


def model_of(uri: str) -> str:
    """The URI of the model behind a guard or judge, without the form in which it is asked."""
    if own := own_in(uri):
        return own.model
    kind, _, rest = uri.partition("/")
    if kind == _CRITERION:
        return rest.partition("/")[2]
    return rest if kind in FORMS else uri


def runs_here(uri: str) -> bool:
    """Whether the model behind a guard or judge is loaded into this process, and fills its memory."""
    return model_of(uri).startswith("hf/")


def open_guard(uri: str, models: ModelOpener, stage: str) -> Guard:
    kind, _, rest = uri.partition("/")
    if uri in RULE_GUARDS:
        return RULE_GUARDS[uri]()
    if own := own_in(uri):
        return CustomPromptGuard(own.file, models.open(own.model, stage))
    _check_own_is_whole(uri)
    model = models.open(model_of(uri), stage)
    if kind == _CRITERION:
        return CriterionGuard(rest.partition("/")[0], model)
    return FORMS.get(kind, ChatGuard)(model)


def open_judge(uri: str, models: ModelOpener, stage: str) -> Judge:
    if uri in RULE_JUDGES:
        return RULE_JUDGES[uri]()
    if own := own_in(uri):
        return CustomPromptJudge(own.file, models.open(own.model, stage))
    _check_own_is_whole(uri)
    _check_chats(uri, "compare two", "judge")
    return ChatJudge(models.open(uri, stage))


def open_refusal_judge(uri: str, models: ModelOpener, stage: str) -> RefusalJudge:
    """Opens a chat model as judge of refusals, by XSTest's three classes."""
    _check_chats(uri, "tell how far it refuses", "judge of refusals")
    return ChatRefusalJudge(models.open(uri, stage))


def _check_own_is_whole(uri: str) -> None:
    if uri.partition("/")[0] == _PROMPT:
        then = "write prompt/FILE.txt/MODEL, such as prompt/my-prompt.txt/openai/gpt-4o-2024-08-06"
        raise ConfigError("a guard or judge with a prompt of your own names a file and a model", where=uri, then=then)


def _check_chats(uri: str, what: str, name: str) -> None:
    if is_rules(uri) or uri.partition("/")[0] in (*FORMS, _CRITERION, _PROMPT):
        then = f"name a chat model as {name}, such as openai/gpt-4o-2024-08-06, and this one as guard"
        raise ConfigError(f"this is a guard, which judges one answer and cannot {what}", where=uri, then=then)
