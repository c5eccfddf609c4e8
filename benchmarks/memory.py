"""Memory of a stage over a million questions: the responses stage, ledger and all, of two models that cost nothing.

    python benchmarks/memory.py 1000000

The line it prints holds the peak of the whole process, and what it was before the stage began.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from spavl.models.shop import ModelShop
from spavl.models.types import ChatModel, Reply, Request
from spavl.models.wrappers import Recorded
from spavl.progress import Screen
from spavl.records import Image, Question, Record, Response
from spavl.responses.config import ResponsesConfig
from spavl.responses.run import run as answer_all
from spavl.stage import Job
from spavl.store import RunFolder

R = TypeVar("R", bound=Record)
QUESTIONS_PER_PICTURE = 3


class Ready:
    """A model whose answers cost nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def ask(self, request: Request) -> Reply:
        return Reply(f"an answer to {request.messages[-1].text} " * 4, "stop", 300, 60)


class ReadyShop(ModelShop):
    def open(self, uri: str, stage: str) -> ChatModel:
        return Recorded(Ready(uri), self._ledger, stage, self._flights)


def filled(kind: type[R], **fields: Any) -> R:
    """A record with something in every field."""
    return kind(**{name: _some(hint) for name, hint in get_type_hints(kind).items()} | fields)


def _some(hint: Any) -> Any:
    if NoneType in get_args(hint):
        return None
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    return () if get_origin(hint) is tuple else hint()


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fill(run: RunFolder, count: int) -> None:
    blob = run.blobs.put(b"\x89PNG the bytes of a picture")

    def images() -> Iterator[Image]:
        for number in range(-(-count // QUESTIONS_PER_PICTURE)):
            yield filled(Image, leaf=str(number), blob=blob, split="train")

    def questions() -> Iterator[Question]:
        for number, image in enumerate(run.read("images", Image)):
            for each in range(QUESTIONS_PER_PICTURE):
                yield filled(Question, image_id=image.id, text=f"question {each} of picture {number}")

    run.write_rows("images", Image, images())
    run.write_rows("questions", Question, questions())


async def answer(run: RunFolder) -> None:
    settings = ResponsesConfig(models=("openai/one", "openai/two"))
    await answer_all(Job(run, settings, 1, ReadyShop(run.ledger), Screen(), in_flight=256))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder, RunFolder(Path(folder) / "run") as run:
        fill(run, count)
        before, began = peak_mb(), time.monotonic()
        asyncio.run(answer(run))
        told = {
            "name": "memory_of_a_stage",
            "questions": run.count("questions", Question),
            "answers": run.count("responses", Response),
            "peak_mb": round(peak_mb()),
            "before_mb": round(before),
            "seconds": round(time.monotonic() - began),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
