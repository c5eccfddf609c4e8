"""Opens a run with a finished data set for reading."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from spavl.data.dataset.config import SPEC
from spavl.errors import StoreError
from spavl.records import Category, Sample, Split
from spavl.store import RunFolder

BUILD = "spavl build my.toml makes one; spavl data import brings one in"


@contextlib.contextmanager
def open_finished(path: Path) -> Iterator[RunFolder]:
    if not (path / "run.json").is_file():
        raise StoreError("there is no run in this folder", where=str(path), then=BUILD)
    # It is locked if it can be: nobody writes to a folder that cannot be written to.
    with RunFolder(path, look_only=not os.access(path, os.W_OK)) as run:
        if run.manifest(SPEC.stage) is None:
            then = "type its spavl build again, which goes on where it was left"
            raise StoreError("this run has no finished data set", where=str(path), then=then)
        yield run


def samples_of(run: RunFolder, split: Split) -> Iterator[Sample]:
    return (sample for sample in run.read(SPEC.stage, Sample) if sample.split == split)


def categories_of(run: RunFolder) -> dict[str, Category]:
    return {category.leaf: category for category in run.read("taxonomy", Category)}
