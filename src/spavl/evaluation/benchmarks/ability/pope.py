"""POPE: yes-or-no questions whether an object is in the image. For half of them it is, for half it is not."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from spavl.evaluation.benchmarks.ability.formulas import yes_no
from spavl.evaluation.benchmarks.ability.instructions import IN_A_WORD, ended_with
from spavl.evaluation.benchmarks.files.row_files import need, rows_of, strange
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem
from spavl.evaluation.records import Item
from spavl.statistics import Estimate

_GET = (
    "put coco_pope_random.json, coco_pope_popular.json and coco_pope_adversarial.json of github.com/RUCAIBox/POPE "
    "(output/coco/) into the folder and COCO's images into val2014/; or download lmms-lab/POPE from the Hugging Face "
    "hub"
)


def _read(folder: Path) -> Iterator[BenchmarkItem]:
    files = need(folder, (*_LISTS, *_TABLES), _GET)
    roots = [folder / place for place in ("val2014", "images", ".")]
    # Subsets have questions in common.
    by_subset: dict[str, list[Path]] = {}
    for file in files:
        by_subset.setdefault(_subset_named(file), []).append(file)
    for row in chain.from_iterable(map(rows_of, by_subset.values())):
        answer = row.text("label", "answer").strip().casefold()
        if answer not in ("yes", "no"):
            raise strange(f"the answer {answer!r} is neither yes nor no", row)
        yield BenchmarkItem(
            key=row.maybe_text("question_id", "id") or str(row.number),
            question=ended_with(row.question_text("text", "question"), IN_A_WORD),
            wants="answer",
            scored_by=("match/yes_no", "match/pope"),
            image=row.image("image", folders=roots, get=_GET),
            subset=row.maybe_text("category") or _subset_named(row.file),
            group="there" if answer == "yes" else "not there",
            cluster=row.maybe_text("image_source") or row.image_name("image"),
            references=(answer,),
        )


def _subset_named(file: Path) -> str:
    """The subset that a file is named by, as are coco_pope_random.json, a second download, and random-00000.parquet."""
    return re.split("[^a-z]", file.stem.lower().removeprefix("coco_pope_"), maxsplit=1)[0]


def _figures(items: Sequence[Item], marks: Sequence[float | None]) -> dict[str, Estimate]:
    """The metrics of all questions, and of each subset: the three ways in which absent objects were chosen."""
    pairs = list(zip(items, marks, strict=True))
    found: dict[str, Estimate] = {}
    for subset in ("", *sorted({item.subset for item in items})):
        own = [(mark, item.references[0], item.cluster) for item, mark in pairs if subset in ("", item.subset)]
        told = yes_no(*zip(*own, strict=True))._asdict()
        found |= {f"{name}, {subset}" if subset else name: value for name, value in told.items()}
    return found


_LISTS = tuple(
    f"{place}coco_pope_*{ending}" for place in ("", "coco/", "output/coco/") for ending in (".json", ".jsonl")
)
_TABLES = ("data/test-*.parquet", "Full/*.parquet", "*.parquet")
BENCHMARK = Benchmark(
    name="pope",
    does="whether a model sees objects that are not there: 9,000 questions for yes or no",
    get=_GET,
    read=_read,
    scoring="accuracy, precision, recall, F1 and the share of yes. POPE's script takes `no` and `not` anywhere in the "
    "first sentence for a no and all else for a yes, refusals too. Its rule is reported besides ours, by which an "
    "answer that states neither is unread and not right",
    figures=_figures,
)
