"""Harmless questions that look harmful, and harmful ones for comparison: XSTest, OR-Bench and MOSSBench."""

import functools
from collections.abc import Iterator
from pathlib import Path

from spavl.evaluation.benchmarks.files.row_files import BenchmarkRow, need, rows_of, strange
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem, never
from spavl.evaluation.records import Wants
from spavl.judges.guards.keyword import XSTEST as BY_VLMEVALKIT

_GET_XSTEST = (
    "put xstest_prompts.csv of github.com/paul-rottger/xstest into the folder (older copies are called "
    "xstest_v2_prompts.csv), or the Parquet of walledai/XSTest or Paul/XSTest from the Hugging Face hub"
)
_GET_OR_BENCH = "download bench-llm/OR-Bench from the Hugging Face hub: or-bench-hard-1k.csv, or-bench-toxic.csv, ..."
_GET_MOSS = (
    "clone github.com/xirui-li/MOSSBench: its data/ holds images_information/information.json and images/ (a copy as "
    "Parquet with pid, question and image is read too)"
)
_MOSS_KINDS = {"type 1": "exaggerated risk", "type 2": "negated harm", "type 3": "counterintuitive interpretation"}


def _xstest(folder: Path) -> Iterator[BenchmarkItem]:
    files = need(folder, ("xstest*prompts.csv", "*.csv", "*.parquet", "*/*.parquet"), _GET_XSTEST)
    # Its two versions have the same prompts, but other columns beside them.
    for row in rows_of(files, texts=("prompt",)):
        kind = row.text("type")
        # In the older file only the type says what is harmful.
        if not kind:
            raise strange("the type of this prompt is empty", row)
        label = row.maybe_text("label", "final_label") or ("unsafe" if kind.startswith("contrast") else "safe")
        if label not in ("safe", "unsafe"):
            raise strange(f"the label {label!r} is neither safe nor unsafe", row)
        key = row.maybe_text("id", "id_v2") or str(row.number)
        item = _in_words(key, row.question_text("prompt"), "help" if label == "safe" else "refuse", label, kind)
        yield item._replace(scored_by=(*item.scored_by, BY_VLMEVALKIT))


def _or_bench(folder: Path, files: tuple[str, ...]) -> Iterator[BenchmarkItem]:
    for name in files:
        wants: Wants = "refuse" if name == "or-bench-toxic" else "help"
        patterns = (f"{name}.csv", f"{name}/*.parquet", f"{name}*.parquet", f"*/{name}.csv")
        for number, row in enumerate(rows_of(need(folder, patterns, _GET_OR_BENCH))):
            yield _in_words(
                str(number), row.question_text("prompt"), wants, name.removeprefix("or-bench-"), row.text("category")
            )


def _in_words(key: str, question: str, wants: Wants, subset: str, group: str) -> BenchmarkItem:
    scored_by = ("refusal",) if wants == "help" else ("guard", "refusal")
    return BenchmarkItem(key=key, question=question, wants=wants, scored_by=scored_by, subset=subset, group=group)


def _mossbench(folder: Path) -> Iterator[BenchmarkItem]:
    listed = ("data/images_information/information.json", "images_information/information.json", "information.json")
    roots = [folder / place for place in ("data", "data/images", "images", ".")]
    for row in rows_of(need(folder, (*listed, "*.parquet", "*/*.parquet"), _GET_MOSS)):
        yield BenchmarkItem(
            key=row.maybe_text("pid", "key") or str(row.number),
            question=row.question_text("question"),
            wants="help",
            scored_by=("refusal",),
            image=row.image("image", folders=roots, get=_GET_MOSS),
            group=_moss_kind(row),
            context=row.maybe_text("short description", "short_description", "description"),
        )


def _moss_kind(row: BenchmarkRow) -> str:
    about = row.maybe("metadata")
    kind = about.get("over") if isinstance(about, dict) else row.maybe("over")
    return _MOSS_KINDS.get(str(kind), str(kind or ""))


XSTEST = Benchmark(
    name="xstest",
    does="250 harmless questions that look harmful and 200 harmful ones like them, text only",
    get=_GET_XSTEST,
    read=_xstest,
    needs_image=never,
    scoring="full and partial refusals of the harmless ones (three classes); unsafe answers to the others. Beside them "
    f"VLMEvalKit's rule (`{BY_VLMEVALKIT}`), by which a partial refusal passes",
)
OR_BENCH = Benchmark(
    name="or-bench",
    does="about 1,300 harmless prompts that models often refuse and 655 toxic ones, text only",
    get=_GET_OR_BENCH,
    read=functools.partial(_or_bench, files=("or-bench-hard-1k", "or-bench-toxic")),
    needs_image=never,
    scoring="refusals of the harmless ones; unsafe answers to the toxic ones",
)
OR_BENCH_80K = Benchmark(
    name="or-bench-80k",
    does="about 80,000 harmless prompts of ten kinds that look harmful, text only",
    get=_GET_OR_BENCH,
    read=functools.partial(_or_bench, files=("or-bench-80k",)),
    needs_image=never,
    scoring="refusals",
    shares="or-bench",
)
MOSSBENCH = Benchmark(
    name="mossbench",
    does="300 harmless questions about images that look risky",
    get=_GET_MOSS,
    read=_mossbench,
    scoring="refusals, by the three kinds of triggers",
)
