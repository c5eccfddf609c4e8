"""A benchmark as a task of Inspect: the same items, asked with the same words and images."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Scorer
from inspect_ai.solver import generate

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem
from spavl.evaluation.inspect_ai.grader import chats
from spavl.evaluation.inspect_ai.messages import theirs
from spavl.evaluation.inspect_ai.metadata import SampleMetadata
from spavl.evaluation.inspect_ai.scorers import RULE, against_references, by_guard, by_reading, by_rule
from spavl.judges.guards.criteria import criterion_in
from spavl.models.types import ImageData, Message

# The settings of `spavl eval`, so that both give the same answers.
_ASKED = GenerateConfig(max_tokens=512, temperature=0.0, seed=1)


class TaskJudges(NamedTuple):
    """The forms of the guard and the judge, and what to do if canaries are failed."""

    guard: str
    judge: str
    canaries: str


def task_of(benchmark: Benchmark, data: str, judging: TaskJudges, subset: str) -> Task:
    """`data` is the folder of the benchmark's files; `subset` narrows it to one of its parts."""
    if not data:
        then = f"-T data=FOLDER; {benchmark.get}"
        raise ConfigError("it is not said where the benchmark's files are", where=benchmark.name, then=then)
    items = [item for item in benchmark.items(Path(data)) if subset in ("", item.subset)]
    if not items:
        raise ConfigError(f"nothing of {benchmark.name} is called {subset!r}", where="-T subset", then="leave it out")
    return Task(
        dataset=MemoryDataset([_sample(item) for item in items], name=benchmark.name),
        solver=generate(),
        scorer=_scorers(items, judging),
        config=_ASKED,
    )


def _sample(item: BenchmarkItem) -> Sample:
    shown = (ImageData.of(item.image()),) if item.image else ()
    name = "/".join(filter(None, (item.subset, item.key)))
    return Sample(
        id=name,
        input=[theirs(Message("user", item.question, shown))],
        target=list(item.references),
        metadata=SampleMetadata.of_item(item, item.cluster or (shown[0].digest if shown else name)).as_dict(),
    )


def _scorers(items: Sequence[BenchmarkItem], judging: TaskJudges) -> list[Scorer]:
    """The scorers for what `spavl eval` reports, with the grader as guard and judge; comparisons need references."""
    guard, judge, canaries = judging
    ways, found = {way for item in items for way in item.scored_by}, list[Scorer]()
    if any(way.startswith(RULE) for way in ways):
        found.append(by_rule())
    with_images = any(item.image is not None for item in items)
    if ways & {"guard", "refusal"}:
        criteria = tuple(sorted({criterion_in(item.scored_by) for item in items} - {""}))
        found.append(by_guard("criteria" if criteria and not guard else guard, canaries, criteria, with_images))
    reads = chats(guard) and not judge
    if "refusal" in ways and reads:
        found.append(by_reading(canaries, with_images))
    if "pairwise" in ways and any(item.references for item in items) and (judge or reads):
        found.append(against_references(judge, canaries, with_images))
    return found
