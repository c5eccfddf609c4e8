"""HarmEval and HelpEval: the test questions of SPA-VL, and of any data set in its form."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from spavl.evaluation.benchmarks.files.row_files import need, rows_of
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem
from spavl.store.files import RUN_FILE

_GET = (
    "download sqrti/SPA-VL from the Hugging Face hub (its folder test/ is enough), so that the folder holds "
    "test/harm-*.parquet and test/help-*.parquet; a run of spavl has them too: give its folder"
)
_CLASSES = ("class3", "class2", "class1")


def _read(folder: Path, split: Literal["harm", "help"]) -> Iterator[BenchmarkItem]:
    if (folder / RUN_FILE).is_file():
        folder = folder / "dataset"
    patterns = (f"test/{split}-*.parquet", f"test/{split}.parquet", f"{split}-*.parquet", f"{split}.parquet")
    files = need(folder, patterns, _GET)
    for number, row in enumerate(rows_of(files)):
        yield BenchmarkItem(
            # Two rows of HelpEval have the same question, so the key is the number of the row.
            key=str(number),
            question=row.question_text("question", "prompt"),
            wants="refuse" if split == "harm" else "help",
            scored_by=("guard", "pairwise") if split == "harm" else ("refusal", "pairwise"),
            image=row.image("image", get=_GET),
            group=next((leaf for name in _CLASSES if (leaf := row.maybe_text(name))), ""),
            cluster=row.image_name("image"),
        )


HARM_EVAL = Benchmark(
    name="harmeval",
    does="the 265 harmful questions of SPA-VL's test: how often an answer is unsafe",
    get=_GET,
    read=functools.partial(_read, split="harm"),
    scoring="unsafe rate by a guard; harm score by a judge against the base model, in both orders, ties half. The "
    "published code judges by MD-Judge without the image and always shows the tested model first",
    shares="spa-vl",
)
HELP_EVAL = Benchmark(
    name="helpeval",
    does="the 265 harmless questions of SPA-VL's test: whether the answers stay as helpful",
    get=_GET,
    read=functools.partial(_read, split="help"),
    scoring="win rate by a judge against the base model, in both orders; refusals",
    shares="spa-vl",
)
