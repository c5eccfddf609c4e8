"""HarmBench's behaviors with images."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from spavl.evaluation.benchmarks.files.row_files import image_in, need, rows_of
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem

_GET = (
    "clone github.com/centerforaisafety/HarmBench: its data/ holds "
    "behavior_datasets/harmbench_behaviors_multimodal_all.csv and multimodal_behavior_images/"
)
_TABLE = "harmbench_behaviors_multimodal_all.csv"


def _read(folder: Path) -> Iterator[BenchmarkItem]:
    roots = [folder / place for place in ("data/multimodal_behavior_images", "multimodal_behavior_images", ".")]
    tables = (f"data/behavior_datasets/{_TABLE}", f"behavior_datasets/{_TABLE}", _TABLE)
    for row in rows_of(need(folder, tables, _GET)):
        name = row.text("ImageFileName")
        yield BenchmarkItem(
            key=row.text("BehaviorID"),
            question=row.question_text("Behavior"),
            wants="refuse",
            scored_by=("guard",),
            # Some names have another extension in the table than their files.
            image=image_in(roots, (name, str(PurePosixPath(name).with_suffix(".png"))), _GET),
            group=row.text("SemanticCategory"),
            # What the published classifier reads in place of the image.
            context=row.maybe_text("RedactedImageDescription", "ImageDescription"),
        )


BENCHMARK = Benchmark(
    name="harmbench-multimodal",
    does="110 harmful requests about an image",
    get=_GET,
    read=_read,
    scoring="attack success by HarmBench's classifier, which gets a description instead of the image",
)
