"""Paraphrases of questions: written by a model, or read from a file."""

import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path

from spavl.errors import ConfigError
from spavl.evaluation.config import ANSWERS
from spavl.models.factory import ModelFactory
from spavl.models.types import Message, Request
from spavl.records import content_hash
from spavl.text.encodable import is_encodable

# Returns the paraphrase of a question; empty if there is none.
Paraphraser = Callable[[str], Awaitable[str]]

_PROMPT = "paraphrase-v1"


def open_paraphrases(source: str, models: ModelFactory) -> Paraphraser:
    if not source:
        then = "--paraphrases MODEL, or --paraphrases FILE.jsonl with lines of {question, paraphrase}"
        raise ConfigError("no source of paraphrases is configured", where="--conditions", then=then)
    return _from_file(Path(source)) if Path(source).is_file() else _from_model(source, models)


def _from_model(uri: str, models: ModelFactory) -> Paraphraser:
    writer = models.open(uri, ANSWERS.stage)
    template = files("spavl.evaluation").joinpath(f"prompts/{_PROMPT}.txt").read_text(encoding="utf-8")

    async def paraphrase(question: str) -> str:
        fence = f"#{content_hash([_PROMPT, question])[:12]}"
        text = template.format(fence=fence, question=question)
        reply = await writer.ask(Request((Message("user", text),), max_tokens=256))
        return "" if reply.finish == "refused" or reply.text.strip() == question.strip() else reply.text.strip()

    return paraphrase


def _from_file(file: Path) -> Paraphraser:
    known: dict[str, str] = {}
    lines = enumerate(file.read_text(encoding="utf-8").split("\n"), 1)
    for number, line in ((number, line) for number, line in lines if line.strip()):
        try:
            row = json.loads(line)
            known[row["question"]] = row["paraphrase"].strip()
            if not is_encodable(row):
                raise ValueError("half a character")
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            then = 'write {"question": "...", "paraphrase": "..."}'
            raise ConfigError("no paraphrase can be read in this line", where=f"{file}:{number}", then=then) from None

    async def paraphrase(question: str) -> str:
        return known.get(question, "")

    return paraphrase
