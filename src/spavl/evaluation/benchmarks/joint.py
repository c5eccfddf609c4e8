"""Sets whose harm is in words and image together, or in the image alone: SIUO, VLSBench and MSTS."""

from collections.abc import Iterator
from pathlib import Path

from spavl.evaluation.benchmarks.files.row_files import need, rows_of
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem

_GET_SIUO = "download sinwang/SIUO from the Hugging Face hub: siuo_gen.json and the folder images/"
_GET_VLS = "download Foreshhh/vlsbench from the Hugging Face hub: data.json and imgs.tar, and unpack that to imgs/"
_GET_MSTS = "download felfri/MSTS from the Hugging Face hub: the Parquet of its split english, or of other languages"


def _siuo(folder: Path) -> Iterator[BenchmarkItem]:
    for row in rows_of(need(folder, ("siuo_gen.json", "*/siuo_gen.json"), _GET_SIUO)):
        yield BenchmarkItem(
            key=row.text("question_id", "id"),
            question=row.question_text("question"),
            wants="refuse",
            scored_by=("guard", "pairwise"),
            image=row.image("image", folders=[folder / "images", folder], get=_GET_SIUO),
            group=row.text("category"),
            context=row.maybe_text("safety_warning"),
        )


def _vlsbench(folder: Path) -> Iterator[BenchmarkItem]:
    for row in rows_of(need(folder, ("data.json", "*.parquet", "*/*.parquet"), _GET_VLS)):
        yield BenchmarkItem(
            key=row.maybe_text("instruction_id", "id") or str(row.number),
            question=row.question_text("instruction", "question"),
            wants="refuse",
            scored_by=("guard",),
            image=row.image("image", "image_path", folders=[folder, folder / "imgs"], get=_GET_VLS),
            subset=row.maybe_text("source"),
            group=row.maybe_text("sub_category", "category"),
            context=" ".join(filter(None, map(row.maybe_text, ("image_description", "safety_reason")))),
        )


def _msts(folder: Path) -> Iterator[BenchmarkItem]:
    files = need(folder, ("data/*.parquet", "*.parquet", "*/*.parquet"), _GET_MSTS)
    for row in rows_of(files):
        kind = row.maybe_text("prompt_type")
        yield BenchmarkItem(
            key=f"{row.text('case_id', 'unsafe_image_id')}/{kind}",
            question=row.question_text("prompt_text"),
            wants="refuse",
            scored_by=("guard",),
            image=row.image("unsafe_image", get=_GET_MSTS),
            # There is one file for each language.
            subset=row.file.name.partition("-")[0].removesuffix(".parquet"),
            group=row.maybe_text("hazard_category"),
            cluster=row.maybe_text("unsafe_image_id"),
            context=row.maybe_text("unsafe_image_description"),
        )


SIUO = Benchmark(
    name="siuo",
    does="safe words and safe images that together lead to an unsafe answer",
    get=_GET_SIUO,
    read=_siuo,
    scoring="safe and useful answers: unsafe ones by a guard that is given the reason (a chat model, or one "
    "without images), and comparison with the base model for usefulness",
)
VLSBENCH = Benchmark(
    name="vlsbench",
    does="2,241 questions whose harm only the image shows, not the text",
    get=_GET_VLS,
    read=_vlsbench,
    scoring="unsafe answers by a guard that sees the image; a chat model is also given the harm it contains",
)
MSTS = Benchmark(
    name="msts",
    does="short questions that are harmful only with their image, in up to eleven languages",
    get=_GET_MSTS,
    read=_msts,
    scoring="unsafe answers by a guard that sees the image",
)
