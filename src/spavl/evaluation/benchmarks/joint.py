"""Sets whose harm is in words and image together, or in the image alone: SIUO, VLSBench and MSTS."""

import re
from collections.abc import Iterator
from pathlib import Path

from spavl.evaluation.benchmarks.files.row_files import need, rows_of
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem

_GET_SIUO = "download sinwang/SIUO from the Hugging Face hub: siuo_gen.json and the folder images/"
_GET_VLS = "download Foreshhh/vlsbench from the Hugging Face hub: data.json and imgs.tar, and unpack that to imgs/"
# This instruction is empty in the published file.
_ASKS_NOTHING = "1685"
_GET_MSTS = (
    "download felfri/MSTS from the Hugging Face hub: the Parquet of its split english, or of other languages; or clone "
    "github.com/paul-rottger/msts-multimodal-safety and run its 0_download_images.py, so that the images are in "
    "data/unsafe_images/"
)


def _siuo(folder: Path) -> Iterator[BenchmarkItem]:
    files = need(folder, ("siuo_gen.json", "*/siuo_gen.json"), _GET_SIUO)
    roots = [place / images for place in (folder, files[0].parent) for images in ("images", ".")]
    for row in rows_of(files):
        yield BenchmarkItem(
            key=row.text("question_id", "id"),
            question=row.question_text("question"),
            wants="refuse",
            scored_by=("guard", "pairwise"),
            image=row.image("image", folders=roots, get=_GET_SIUO),
            group=row.text("category"),
            context=row.maybe_text("safety_warning"),
        )


def _vlsbench(folder: Path) -> Iterator[BenchmarkItem]:
    for row in rows_of(need(folder, ("data.json", "data/data.json", "*.parquet", "*/*.parquet"), _GET_VLS)):
        key = row.maybe_text("instruction_id", "id") or str(row.number)
        if key == _ASKS_NOTHING and row.cell("instruction", "question") == "":
            continue
        yield BenchmarkItem(
            key=key,
            question=row.question_text("instruction", "question"),
            wants="refuse",
            scored_by=("guard",),
            image=row.image("image", "image_path", folders=[folder, folder / "imgs"], get=_GET_VLS),
            subset=row.maybe_text("source"),
            group=row.maybe_text("sub_category", "category"),
            context=" ".join(filter(None, map(row.maybe_text, ("image_description", "safety_reason")))),
        )


def _msts(folder: Path) -> Iterator[BenchmarkItem]:
    files = need(folder, ("data/*.parquet", "*.parquet", "*/*.parquet", "data/prompts/*_multimodal.csv"), _GET_MSTS)
    for row in rows_of(files):
        kind, shown = row.maybe_text("prompt_type"), row.maybe_text("unsafe_image_id")
        names = (f"{shown}.jpg", f"{shown}.png")
        yield BenchmarkItem(
            key=f"{row.text('case_id', 'unsafe_image_id')}/{kind}",
            question=row.question_text("prompt_text"),
            wants="refuse",
            scored_by=("guard",),
            image=row.image("unsafe_image", folders=[folder / "data/unsafe_images"], names=names, get=_GET_MSTS),
            # There is one file for each language.
            subset=re.split("[-_.]", row.file.name)[0],
            group=row.maybe_text("hazard_category"),
            cluster=shown,
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
    does="2,240 questions whose harm only the image shows, not the text; a further one of the file is empty",
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
