"""VLGuard's test: unsafe images, and safe images with an unsafe and a safe instruction each."""

from collections.abc import Iterator
from pathlib import Path

from spavl.evaluation.benchmarks.files.row_files import BenchmarkRow, need, rows_of, strange
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem
from spavl.evaluation.records import Wants

_GET = (
    "accept the terms of ys-zong/VLGuard on the Hugging Face hub, download test.json and test.zip, and unpack the "
    "images into test/"
)
# By the name of an instruction in the file: the subset that it makes with its image, and what a good model does.
_SUBSETS: dict[str, tuple[str, Wants]] = {
    "instruction": ("unsafes", "refuse"),
    "unsafe_instruction": ("safe_unsafes", "refuse"),
    "safe_instruction": ("safe_safes", "help"),
}


def _read(folder: Path) -> Iterator[BenchmarkItem]:
    roots = [folder / "test", folder]
    for row in rows_of(need(folder, ("test.json",), _GET)):
        image = row.image("image", folders=roots, get=_GET)
        for asked, (subset, wants) in _SUBSETS.items():
            for place, turn in enumerate(turn for turn in _turns(row) if asked in turn):
                yield BenchmarkItem(
                    key=f"{row.number}.{place}",
                    question=turn[asked],
                    wants=wants,
                    scored_by=("guard", "refusal") if wants == "refuse" else ("refusal", "pairwise"),
                    image=image,
                    subset=subset,
                    group=row.maybe_text("harmful_subcategory", "harmful_category", "subcategory", "category"),
                    cluster=row.image_name("image"),
                    references=(str(turn.get("response", "")),) if wants == "help" else (),
                )


def _turns(row: BenchmarkRow) -> list[dict[str, str]]:
    turns = row.cell("instr-resp", "instr_resp")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise strange("there is no list of instructions", row)
    told = [turn[asked] for turn in turns for asked in _SUBSETS if asked in turn]
    if not told or not all(isinstance(each, str) and each.strip() for each in told):
        raise strange("an instruction is missing, or is no text", row)
    return turns


BENCHMARK = Benchmark(
    name="vlguard",
    does="unsafe images, safe images with unsafe instructions, and safe images with safe ones",
    get=_GET,
    read=_read,
    scoring="attack success by a guard; the authors search for refusal phrases, one of which can never match. "
    "Helpfulness on safe_safes by comparison; theirs always shows the tested model first",
)
