"""The grader under Inspect: a model that Inspect opened, with our prompts and our parsers."""

from collections.abc import Callable

from inspect_ai.model import ContentReasoning, GenerateConfig, Model, get_model

from spavl.errors import ConfigError
from spavl.evaluation.inspect_ai.messages import theirs
from spavl.judges.registry import FORMS, RULE_GUARDS, open_guard, open_judge, open_refusal_judge
from spavl.judges.types import Guard, Judge, RefusalJudge
from spavl.models.types import Finish, Reply, Request
from spavl.models.wrappers.thinking import ThinkingHabits, WithThinkingRoom
from spavl.text.final_answer import part_thoughts

GRADER = "grader"
_FINISHED: dict[str, Finish] = {"stop": "stop", "content_filter": "refused"}


def _of_role() -> Model:
    """The grader's model. The role is required: without it Inspect would let the tested model judge itself."""
    return get_model(role=GRADER, required=True)


class InspectChatModel:
    """A model of Inspect with our interface. It is opened only when it is asked: before that Inspect has no roles."""

    name = GRADER

    def __init__(self, opened: Callable[[], Model] = _of_role) -> None:
        self._opened = opened

    async def ask(self, request: Request) -> Reply:
        config = GenerateConfig(
            max_tokens=request.max_tokens, temperature=request.temperature, top_p=request.top_p, seed=request.seed
        )
        output = await self._opened().generate([theirs(message) for message in request.messages], config=config)
        usage = output.usage
        finish = _FINISHED.get(output.stop_reason, "length")
        contents = [choice.message.content for choice in output.choices[:1]]
        parts = [part for each in contents if not isinstance(each, str) for part in each]
        told = [part.reasoning for part in parts if isinstance(part, ContentReasoning)]
        parted = part_thoughts(output.completion, finish == "length")
        return Reply(
            parted.answer,
            finish,
            usage.input_tokens if usage else 0,
            usage.output_tokens if usage else 0,
            reasoning="\n".join(filter(None, (*told, parted.thoughts))),
            reasoning_tokens=(usage.reasoning_tokens or 0) if usage else 0,
            is_begun=parted.is_begun,
        )


class _Role:
    """Opens the one model that judges under Inspect. A judge's name sets the form in which it is asked, no model."""

    def __init__(self, grader: InspectChatModel) -> None:
        self._grader = WithThinkingRoom(grader, ThinkingHabits())

    def open(self, uri: str, stage: str) -> WithThinkingRoom:
        if uri:
            forms = ", ".join(map(repr, ("", *FORMS, "criterion/NAME", *RULE_GUARDS)))
            then = f"give one of {forms}; which model it is, is said by --model-role grader=MODEL"
            raise ConfigError(f"no judge is called {uri!r} here", where="-T", then=then)
        return self._grader


def guard_named(name: str) -> Guard:
    """The guard, named as by `spavl eval --guard` but without a model; empty: the grader with our prompt."""
    return open_guard(name, _Role(InspectChatModel()), GRADER)


def judge_named(name: str, grader: InspectChatModel) -> Judge:
    return open_judge(name, _Role(grader), GRADER)


def refusal_judge() -> RefusalJudge:
    return open_refusal_judge("", _Role(InspectChatModel()), GRADER)


def chats(guard: str) -> bool:
    """Whether the guard's form shows that the grader is a chat model, which can also judge refusals and pairs."""
    return guard in ("", "criteria") or guard.startswith("criterion/")
