"""OODCV-VQA: yes-or-no and counting questions about objects in unusual form, and a counterfactual variant."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

from spavl.evaluation.benchmarks.files import answer_keys
from spavl.evaluation.benchmarks.files.row_files import need, rows_of, strange
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem

_GET = (
    "download PahaII/vllm_safety_evaluation from the Hugging Face hub (ood/oodcv-vqa/oodcv-vqa.json) and put OODCV's "
    "images beside it; or PahaII/unicorn (OODCV-VQA.json and images/)"
)


def _read(folder: Path, names: tuple[str, ...], published: bool) -> Iterator[BenchmarkItem]:
    roots = [folder / place for place in (".", "images", "oodcv_images", "ood/oodcv-vqa")]
    for row in rows_of(
        need(folder, tuple(f"{place}{name}" for name in names for place in ("", "ood/oodcv-vqa/")), _GET)
    ):
        # If both columns exist, `answer` is the letter of an option.
        answer = answer_keys.words(row, "text_answer", "answer").strip()
        is_yes_no = answer.casefold() in ("yes", "no")
        if answer.casefold() in ("true", "false") or (len(answer) == 1 and answer.isalpha()):
            raise strange(f"the answer {answer!r} is neither yes nor no nor a number", row, then=_GET)
        yield BenchmarkItem(
            key=str(row.number),
            question=row.question_text("question"),
            wants="answer",
            scored_by=("match/short", "match/oodcv") if published else ("match/short",),
            image=row.image("image", "image_path", folders=roots, get=_GET),
            subset="yes_no" if is_yes_no else "number",
            group=row.maybe_text("situation"),
            cluster=row.image_name("image", "image_path"),
            references=(answer.capitalize() if is_yes_no else re.sub(r"\.0$", "", answer),),
        )


BENCHMARK = Benchmark(
    name="oodcv-vqa",
    does="yes-or-no and counting questions about objects in unusual pose, texture, weather and the like",
    get=_GET,
    read=functools.partial(_read, names=("oodcv-vqa.json", "OODCV-VQA.json"), published=True),
    scoring="accuracy of both kinds. The authors search for the right word anywhere in the answer, so `no` is found in "
    "`know` and 1 in 10; their rule is reported besides ours",
)
COUNTERFACTUAL = Benchmark(
    name="oodcv-counterfactual",
    does="OODCV-VQA with a counterfactual assumption in each question that changes the answer",
    get=_GET,
    read=functools.partial(_read, names=("oodcv-counterfactual.json", "OODCV-Counterfactual.json"), published=False),
    scoring="accuracy as for oodcv-vqa; the authors' search for the answering clause is not done here",
    shares="oodcv-vqa",
)
