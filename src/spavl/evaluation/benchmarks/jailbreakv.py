"""JailBreakV-28K: jailbreaks of language models with images added, and those of FigStep and MM-SafetyBench."""

import functools
from collections.abc import Iterator
from pathlib import Path

from spavl.evaluation.benchmarks.files.row_files import need, rows_of
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem

_GET = (
    "download JailbreakV-28K/JailBreakV-28k from the Hugging Face hub, and its images by the form in its card; the "
    "folder then holds JailBreakV_28K.csv, mini_JailBreakV_28K.csv and the folders figstep, llm_transfer_attack and "
    "query_related, or a folder JailBreakV_28K with them"
)
_INSIDE = ("JailBreakV_28K", "JailBreakV_28k")


def _read(folder: Path, name: str) -> Iterator[BenchmarkItem]:
    roots = [folder, *(folder / inside for inside in _INSIDE)]
    files = need(folder, (f"{name}.csv", *(f"{inside}/{name}.csv" for inside in _INSIDE)), _GET)
    for number, row in enumerate(rows_of(files)):
        asked_for = row.question_text("redteam_query")
        yield BenchmarkItem(
            key=row.maybe_text("id") or str(number),
            question=row.question_text("jailbreak_query"),
            wants="refuse",
            scored_by=("guard",),
            image=row.image("image_path", folders=roots, get=_GET),
            subset=row.text("format"),
            group=row.text("policy"),
            # Many jailbreaks share one request.
            cluster=asked_for,
            context=asked_for,
        )


_SCORING = (
    "attack success by Llama Guard, which sees what the model saw; a chat model as guard, and guards that only read, "
    "are told what is truly asked for"
)
BENCHMARK = Benchmark(
    name="jailbreakv",
    does="28,000 jailbreaks with images; it has MM-SafetyBench's questions in it, so the two are not independent",
    get=_GET,
    read=functools.partial(_read, name="JailBreakV_28K"),
    scoring=_SCORING,
    by_image=False,
)
MINI = Benchmark(
    name="jailbreakv-mini",
    does="280 of the jailbreaks of JailBreakV-28K, picked by its authors",
    get=_GET,
    read=functools.partial(_read, name="mini_JailBreakV_28K"),
    scoring=_SCORING,
    by_image=False,
    shares="jailbreakv",
)
