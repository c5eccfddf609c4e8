"""Who judges under Inspect: a model it opened, asked with our prompts and read by our parsers."""

from collections.abc import Callable
from typing import TypeVar

from inspect_ai.model import GenerateConfig, Model, get_model

from spavl.inspecting.talk import theirs
from spavl.judges.chat import ChatGuard, ChatJudge
from spavl.judges.rules import RuleGuard, RuleJudge
from spavl.judges.shop import FORMS, RULES
from spavl.judges.types import Guard, Judge
from spavl.models.types import ChatModel, Finish, Reply, Request

T = TypeVar("T")
GRADER = "grader"
_FINISHED: dict[str, Finish] = {"stop": "stop", "content_filter": "refused"}


class Grader:
    """A model of Inspect as one of ours."""

    def __init__(self, model: Model) -> None:
        self.name, self._model = str(model), model

    async def ask(self, request: Request) -> Reply:
        config = GenerateConfig(
            max_tokens=request.max_tokens, temperature=request.temperature, top_p=request.top_p, seed=request.seed
        )
        output = await self._model.generate([theirs(message) for message in request.messages], config=config)
        usage = output.usage
        finish = _FINISHED.get(output.stop_reason, "length")
        return Reply(output.completion, finish, usage.input_tokens if usage else 0, usage.output_tokens if usage else 0)


def guard_named(name: str) -> Guard:
    """`rules/miniature`, a published guard's kind for the grader's weights, or nothing: the grader by our prompt."""
    return RuleGuard() if name == RULES else _of_grader(FORMS.get(name, ChatGuard))


def judge_named(name: str) -> Judge:
    return RuleJudge() if name == RULES else _of_grader(ChatJudge)


def _of_grader(made_of: Callable[[ChatModel], T]) -> T:
    """Without the role's own model Inspect would let the tested model judge itself; so the role is required."""
    return made_of(Grader(get_model(role=GRADER, required=True)))
