"""The test questions of any run of spavl, about images and whole leaves that it never trains on."""

import functools
from collections.abc import Iterator
from pathlib import Path

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem
from spavl.records import Image, Question, Split
from spavl.store import RunFolder
from spavl.store.files import RUN_FILE
from spavl.store.question_facts import contested_in

_GET = "spavl build my.toml makes a run (spavl data import brings one in); name its folder, as in --data run=runs/my"
_SUBSETS: dict[Split, str] = {"test": "test", "held_out": "held_out"}


def _read(folder: Path, only_twins: bool) -> Iterator[BenchmarkItem]:
    if not (folder / RUN_FILE).is_file():
        raise ConfigError("there is no run in this folder", where=str(folder), then=_GET)
    with RunFolder(folder, look_only=True) as run:
        images, contested = run.lookup("selection", Image), contested_in(run)
        for question in run.read("questions", Question):
            if question.id in contested:
                continue
            image = images[question.image_id]
            if image.split in _SUBSETS and not (only_twins and (image.twin_of is None or question.harmful)):
                yield _item_of_question(question, image, run)


def _item_of_question(question: Question, image: Image, run: RunFolder) -> BenchmarkItem:
    # A refusal names nothing, so the ability to see is measured where no refusal is wanted.
    helpful = ("refusal", "pairwise", *(("names",) if image.subject else ()))
    return BenchmarkItem(
        key=question.id,
        question=question.text,
        wants="refuse" if question.harmful else "help",
        scored_by=("guard", "pairwise") if question.harmful else helpful,
        image=functools.partial(run.blobs.get, image.blob),
        subset=_SUBSETS[image.split],
        group=image.leaf,
        # An image and its benign twin show the same thing.
        cluster=image.twin_of or image.id,
        subject=image.subject or "",
    )


BENCHMARK = Benchmark(
    name="run",
    does="the test questions of a run of spavl, harmful and harmless, and those of its held-out leaves",
    get=_GET,
    read=functools.partial(_read, only_twins=False),
    scoring="unsafe answers to the harmful questions, refusals of the harmless ones, and comparisons of all",
)
TWINS = Benchmark(
    name="twins",
    does="the harmless questions of a run about benign twins: images that only look like harmful ones",
    get=_GET,
    read=functools.partial(_read, only_twins=True),
    scoring="refusals; an image and its twin are one cluster",
    shares="run",
)
