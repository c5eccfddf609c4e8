"""What a model was trained on, as an audit reads it: each picture and question of a run or of a folder of tables."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from spavl.benchmarks.files import need, rows_of
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.store.files import RUN_FILE

_GET = "give a run of spavl, or a folder of Parquet files with the columns image and question"
_TABLES = ("train*.parquet", "data/train*.parquet", "*/train*.parquet", "train/*.parquet", "*.parquet")


class Taught(NamedTuple):
    """A row that a model may have learnt from."""

    key: str
    question: str
    picture: Callable[[], bytes] | None


def taught_by(source: str) -> Iterator[Taught]:
    folder = Path(source)
    return _of_run(folder) if (folder / RUN_FILE).is_file() else _of_tables(folder)


def _of_run(folder: Path) -> Iterator[Taught]:
    with RunFolder(folder, look_only=True) as run:
        for sample in run.read("dataset", Sample):
            if sample.split == "train":
                yield Taught(sample.id, sample.question, functools.partial(run.blobs.get, sample.blob))


def _of_tables(folder: Path) -> Iterator[Taught]:
    for row in rows_of(need(folder, _TABLES, _GET)):
        question = row.maybe_text("question", "prompt", "instruction")
        yield Taught(f"{row.file.name} {row.number}", question, row.picture("image", [folder], _GET))
