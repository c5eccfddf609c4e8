"""Our models for Inspect: `--model spavl/hf/PATH`, `spavl/miniature/base`. Its own `hf` refuses images."""

from collections import Counter
from dataclasses import replace
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from spavl.evaluation.inspect_ai.messages import ours
from spavl.models.factory import open_here
from spavl.models.types import Finish, Request

_STOPPED: dict[Finish, StopReason] = {"stop": "stop", "length": "max_tokens", "refused": "content_filter"}
# Waiting requests are answered in batches: enough for two full ones.
_AT_ONCE = 128


class SpavlAPI(ModelAPI):
    """A model in this process. It has no ledger: Inspect keeps its own logs and caches."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (as Inspect's own are)
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self._model = open_here(model_name)
        # How often each request was made: a repeated one, as in epochs, needs another sample.
        self._asked: Counter[str] = Counter()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        request = Request(
            ours(input),
            max_tokens=config.max_tokens or 512,
            temperature=config.temperature or 0.0,
            top_p=1.0 if config.top_p is None else config.top_p,
            seed=config.seed or 0,
        )
        spelled = request.canonical_text()
        reply = await self._model.ask(replace(request, sample=self._asked[spelled]))
        self._asked[spelled] += 1
        thought = [ContentReasoning(reasoning=reply.reasoning)] if reply.reasoning else []
        content = [*thought, ContentText(text=reply.text)] if thought else reply.text
        spoken = ChatMessageAssistant(content=content, model=self.model_name, source="generate")
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=spoken, stop_reason=_STOPPED[reply.finish])],
            usage=ModelUsage(
                input_tokens=reply.tokens_in,
                output_tokens=reply.tokens_out,
                total_tokens=reply.tokens_in + reply.tokens_out,
                reasoning_tokens=reply.reasoning_tokens or None,
            ),
        )

    def max_connections(self) -> int:
        return _AT_ONCE

    def connection_key(self) -> str:
        return self.model_name
