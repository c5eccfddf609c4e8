"""Memory of a stage over many rows, of models that cost nothing.

    python -m benchmarks.memory responses 1000000   # questions, asked of two models, with the ledger
    python -m benchmarks.memory dataset 120000      # pairs, with the audit of leaks and the files

The line it prints holds the peak of the whole process, and what it was before the stage began.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import Process
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from spavl.data.dataset import config as dataset
from spavl.data.dataset.config import DatasetConfig, LeaksConfig
from spavl.data.dataset.run import run as write_dataset
from spavl.data.responses.config import ResponsesConfig
from spavl.data.responses.run import run as answer_all
from spavl.models.factory import ModelFactory
from spavl.models.types import ChatModel, Reply, Request
from spavl.models.wrappers.stack import LedgerCached
from spavl.records import (
    Candidate,
    Category,
    Description,
    DownloadedImage,
    Image,
    Pair,
    Preference,
    Question,
    Record,
    Response,
    Sample,
    Split,
    Verdict,
)
from spavl.stages.context import StageContext
from spavl.store import Manifest, RunFolder
from spavl.terminal.progress import Screen

R = TypeVar("R", bound=Record)
QUESTIONS_PER_IMAGE = 3


class Ready:
    """A model whose answers cost nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def ask(self, request: Request) -> Reply:
        return Reply(f"an answer to {request.messages[-1].text} " * 4, "stop", 300, 60)


class ReadyFactory(ModelFactory):
    def open(self, uri: str, stage: str) -> ChatModel:
        return LedgerCached(Ready(uri), self._ledger, stage, self._flights)


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
    blob = run.blobs.put(b"\x89PNG the bytes of an image")

    def images() -> Iterator[Image]:
        for number in range(-(-count // QUESTIONS_PER_IMAGE)):
            yield filled(Image, leaf=str(number), blob=blob, split="train")

    def questions() -> Iterator[Question]:
        for number, image in enumerate(run.read("selection", Image)):
            for each in range(QUESTIONS_PER_IMAGE):
                yield filled(Question, image_id=image.id, text=f"question {each} of image {number}")

    run.write_rows("selection", Image, images())
    run.write_rows("questions", Question, questions())


async def answer(run: RunFolder) -> None:
    settings = ResponsesConfig(models=("openai/one", "openai/two"))
    await answer_all(StageContext(run, settings, 1, ReadyFactory(run.ledger), Screen(), in_flight=256))


def fill_to_preferences(run: RunFolder, count: int) -> None:
    """A run up to its preferences: so many pairs, one to a question, every hundredth image a test's."""
    fill(run, count)
    leaf = filled(Category, leaf="a leaf", published=("one", "two", "three"))
    run.write_rows("taxonomy", Category, [leaf])
    blob = run.blobs.put(b"\x89PNG the bytes of an image")
    image_count = -(-count // QUESTIONS_PER_IMAGE)

    def images() -> Iterator[Image]:
        for number, candidate in enumerate(run.read("sourcing", Candidate)):
            split: Split = "test" if number % 100 == 0 else "train"
            own = run.blobs.put(f"the bytes of test image {number}".encode()) if split == "test" else blob
            yield filled(Image, category_id=leaf.id, leaf="a leaf", candidate_id=candidate.id, blob=own, split=split)

    def answers(kind: type[R], **same: Any) -> Iterator[R]:
        for response in run.read("responses", Response):
            own = {"response_id": response.id, "question_id": response.question_id, "model": response.model}
            yield filled(kind, **own, **same)

    def responses() -> Iterator[Response]:
        for question in run.read("questions", Question):
            for model in ("one", "two"):
                text = f"what {model} says of it " * 12
                yield filled(Response, question_id=question.id, model=model, text=text, call="c" * 64)

    def pairs() -> Iterator[Pair]:
        left = run.read("responses", Response)
        for one, two in zip(left, left, strict=True):
            yield filled(Pair, question_id=one.question_id, first=one.id, second=two.id)

    def preferences() -> Iterator[Preference]:
        for pair in run.read("pairs", Pair):
            won = {"chosen": pair.first, "rejected": pair.second, "contrast": "both"}
            yield filled(Preference, pair_id=pair.id, question_id=pair.question_id, **won)

    sources = (filled(Candidate, leaf="a leaf", source=f"folder/{number}.png") for number in range(image_count))
    run.write_rows("sourcing", Candidate, sources)
    run.write_rows("selection", Image, images())
    run.write_rows(
        "questions",
        Question,
        (
            filled(Question, image_id=image.id, text=f"question {each} about {image.id}")
            for image in run.read("selection", Image)
            for each in range(QUESTIONS_PER_IMAGE)
        ),
    )
    candidates = run.read("sourcing", Candidate)
    run.write_rows(
        "downloads", DownloadedImage, (filled(DownloadedImage, candidate_id=each.id, blob=blob) for each in candidates)
    )
    described = (filled(Description, image_id=each.id, details="seen " * 60) for each in run.read("selection", Image))
    run.write_rows("captions", Description, described)
    run.write_rows("responses", Response, responses())
    run.write_rows("verdicts", Verdict, answers(Verdict, label="safe"))
    run.write_rows("pairs", Pair, pairs())
    run.write_rows("preferences", Preference, preferences())
    for stage in dataset.SPEC.reads:
        run.write_manifest(Manifest(stage, "", "", 0, {}, 0.0))


async def make_dataset(run: RunFolder) -> None:
    settings = DatasetConfig(leaks=LeaksConfig(question_similarity=0.99, drop=True))
    await write_dataset(StageContext(run, settings, 1, ReadyFactory(run.ledger), Screen(), in_flight=256))


def main() -> None:
    stage = sys.argv[1] if len(sys.argv) > 1 else "responses"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    with tempfile.TemporaryDirectory() as folder, RunFolder(Path(folder) / "run") as run:
        # In a process of its own, so that its memory is not counted.
        filler = Process(target={"responses": fill, "dataset": fill_to_preferences}[stage], args=(run, count))
        filler.start()
        filler.join()
        before, began = peak_mb(), time.monotonic()
        asyncio.run({"responses": answer, "dataset": make_dataset}[stage](run))
        told = {
            "name": "memory_of_a_stage",
            "stage": stage,
            "asked": count,
            "rows": run.count(stage, {"responses": Response, "dataset": Sample}[stage]),
            "peak_mb": round(peak_mb()),
            "before_mb": round(before),
            "seconds": round(time.monotonic() - began),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
