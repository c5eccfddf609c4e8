"""Has a model look at a picture and write about it, with prompts from versioned files."""

from collections.abc import Collection
from importlib.resources import files
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.models.types import ChatModel, Picture, Reply, ask_about
from spavl.questions.config import QuestionsConfig
from spavl.records import Category, QuestionKind

KINDS: tuple[QuestionKind, ...] = ("easy", "hard", "statement")
_LONGEST_WORDS = 120


class Prompts(NamedTuple):
    """One set of prompts: the text of each, by name."""

    name: str
    texts: dict[str, str]


def read_prompts(name: str) -> Prompts:
    folder = files("spavl.questions").joinpath(f"prompts/{name}")
    if not folder.joinpath("caption.txt").is_file():
        raise ConfigError("there is no such set of prompts", where=f"questions.prompts = {name!r}", then="use v1")
    return Prompts(name, {kind: folder.joinpath(f"{kind}.txt").read_text().strip() for kind in ("caption", *KINDS)})


async def write(
    writer: ChatModel,
    prompts: Prompts,
    settings: QuestionsConfig,
    picture: Picture,
    category: Category,
    kinds: Collection[QuestionKind],
    seed: int,
) -> dict[QuestionKind, Reply]:
    """A question of each kind wanted. The harder ones are made from the caption and the easy one."""

    async def ask(kind: str, **known: str) -> Reply:
        text = prompts.texts[kind].format(domain=category.domain, group=category.group, leaf=category.leaf, **known)
        request = ask_about(
            picture,
            text,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=seed,
        )
        return await writer.ask(request)

    describes = any("{caption}" in prompts.texts[kind] for kind in KINDS)
    caption = (await ask("caption")).text if describes else ""
    written: dict[QuestionKind, Reply] = {"easy": await ask("easy", caption=caption)}
    for kind in kinds:
        if kind != "easy":
            written[kind] = await ask(kind, caption=caption, easy=written["easy"].text)
    return written


def unfit(reply: Reply, earlier: set[str]) -> str | None:
    """Why a written question cannot be used, if it cannot."""
    if reply.finish == "refused":
        return "writer_refused"
    if not reply.text.strip():
        return "empty"
    if reply.finish == "length" or len(reply.text.split()) > _LONGEST_WORDS:
        return "too_long"
    return "repeats" if reply.text in earlier else None
