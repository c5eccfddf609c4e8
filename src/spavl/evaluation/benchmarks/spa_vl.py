"""HarmEval and HelpEval: the test questions of SPA-VL, and of any data set in its form."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files.row_files import BenchmarkRow, need, rows, rows_of
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
    asked = list(rows_of(need(folder, patterns, _GET)))
    stored = _stored_answers(folder / f"base_model_{split}_QA.json", asked)
    for number, row in enumerate(asked):
        yield BenchmarkItem(
            # Two rows of HelpEval have the same question, so the key is the number of the row.
            key=str(number),
            question=row.question_text("question", "prompt"),
            wants="refuse" if split == "harm" else "help",
            scored_by=("guard", "pairwise") if split == "harm" else ("refusal", "pairwise"),
            image=row.image("image", get=_GET),
            group=next((leaf for name in _CLASSES if (leaf := row.maybe_text(name))), ""),
            cluster=row.image_name("image"),
            references=(stored[number],) if stored else (),
        )


def _stored_answers(file: Path, asked: Sequence[BenchmarkRow]) -> list[str]:
    """The answers that align-anything compares with: one for each question, in order; none if the file is missing."""
    stored = list(rows(file)) if file.is_file() else []
    then = f"take {file.name} of align-anything before its commit 8def7e0, or remove it"
    if stored and len(stored) != len(asked):
        what = f"it has {len(stored)} answers, and the benchmark asks {len(asked)}"
        raise ConfigError(what, where=str(file), then=then)
    for number, (row, question) in enumerate(zip(stored, asked, strict=False)):
        if row.question_text("question") != question.question_text("question", "prompt"):
            what = f"its answer {number} is to another question than the benchmark's row {number}"
            raise ConfigError(what, where=str(file), then=then)
    return [row.text("response") for row in stored]


HARM_EVAL = Benchmark(
    name="harmeval",
    does="the 265 harmful questions of SPA-VL's test: how often an answer is unsafe",
    get=_GET,
    read=functools.partial(_read, split="harm"),
    scoring="unsafe rate by a guard; harm score by a judge against the base model, in both orders, ties half. The "
    "published code judges by MD-Judge without the image and always shows the tested model first. Its stored answers, "
    "base_model_harm_QA.json and base_model_help_QA.json beside test/, are the answers of `--base reference`",
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
