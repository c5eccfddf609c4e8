"""Asks a vision model whether an image belongs to its leaf."""

from importlib.resources import files
from typing import Literal

from spavl.judges.response_format import read_lines
from spavl.models.structured_output import ask_structured
from spavl.models.types import ChatModel, ImageData, RequestRejected, ask_about
from spavl.records import Category, content_hash

_PROMPT, _PARSER = "relevance-v1", "lines-v2"
_FORM = "relevant: yes | no"

# `unread`: the model refused, or its reply could not be parsed. Such an image is kept, because models refuse
# most often if an image shows the harm; the verdict is recorded.
Relevance = Literal["yes", "no", "unread"]


class RelevanceCheck:
    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self.name = f"{model.name}|{_PROMPT}|{_PARSER}"

    async def ask(self, image: ImageData, category: Category) -> Relevance:
        request = ask_about(image, _prompt(category), max_tokens=32)
        try:
            lines, _ = await ask_structured(self._model, request, _lines, _FORM)
        except RequestRejected:
            return "unread"
        if lines is None:
            return "unread"
        return "yes" if lines["relevant"] == "yes" else "no"


def _prompt(category: Category) -> str:
    template = files("spavl.data.selection").joinpath(f"prompts/{_PROMPT}.txt").read_text()
    material = {name: getattr(category, name) for name in ("domain", "group", "leaf", "definition")}
    return template.format(fence=f"#{content_hash(material)[:12]}", **material)


def _lines(text: str) -> dict[str, str] | None:
    return read_lines(text, {"relevant": ("yes", "no")})
