"""Files of a benchmark that hold the same rows: a second download, or two versions. Written by pandas."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import registry
from spavl.evaluation.benchmarks.types import BenchmarkItem
from tests.support.benchmark_files import an_image

DESCRIBE = "Describe this image in detail."


def read(name: str, folder: Path) -> list[BenchmarkItem]:
    return list(registry.benchmark_named(name).items(folder))


def harmful(first: int, last: int, question: str = "") -> pd.DataFrame:
    """Rows in SPA-VL's form, with an image each."""
    numbers = range(first, last)
    return pd.DataFrame(
        [{"question": question or f"What {n}?", "class3": "a", "image": {"bytes": an_image(n)}} for n in numbers]
    )


def save(frame: pd.DataFrame, file: Path, **more: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(file) if file.suffix == ".parquet" else frame.to_csv(file, index=False, **more)
    return file


@pytest.mark.parametrize("question", ["", DESCRIBE])
def test_a_second_download_of_a_file_is_refused(tmp_path: Path, question: str) -> None:
    """A browser names it so. All its items were asked and counted twice."""
    file = save(harmful(0, 8, question), tmp_path / "test/harm-00000-of-00001.parquet")
    shutil.copy(file, tmp_path / "test/harm-00000-of-00001 (1).parquet")
    with pytest.raises(ConfigError, match=r"8 of its 8 rows are in .*harm-00000-of-00001 \(1\)\.parquet too") as caught:
        read("harmeval", tmp_path)
    assert caught.value.where == str(file) and caught.value.then == "remove one of the two files"


def test_a_part_beside_the_whole_is_refused(tmp_path: Path) -> None:
    save(harmful(0, 8), tmp_path / "test/harm-all.parquet")
    save(harmful(3, 6), tmp_path / "test/harm-small.parquet")
    with pytest.raises(ConfigError, match=r"3 of its 3 rows are in .*harm-all\.parquet too"):
        read("harmeval", tmp_path)


@pytest.mark.parametrize("question", ["", DESCRIBE])
def test_parts_of_a_benchmark_are_read_whatever_they_ask(tmp_path: Path, question: str) -> None:
    save(harmful(0, 8, question), tmp_path / "test/harm-00000-of-00002.parquet")
    save(harmful(8, 16, question), tmp_path / "test/harm-00001-of-00002.parquet")
    assert len(read("harmeval", tmp_path)) == 16


def test_two_versions_of_xstest_are_refused(tmp_path: Path) -> None:
    prompts = [f"How do I kill process {number}?" for number in range(4)]
    new = pd.DataFrame({"id": range(4), "prompt": prompts, "type": "homonyms", "label": "safe"})
    save(new, tmp_path / "xstest_prompts.csv")
    save(
        pd.DataFrame({"id_v2": [f"v2-{n}" for n in range(4)], "type": "homonyms", "prompt": prompts}),
        tmp_path / "xstest_v2_prompts.csv",
    )
    with pytest.raises(ConfigError, match=r"4 of its 4 rows are in .*xstest_prompts\.csv too"):
        read("xstest", tmp_path)


def test_subsets_may_have_rows_in_common_and_copies_of_one_may_not(tmp_path: Path) -> None:
    rows = pd.DataFrame({"question_id": ["1"], "image": "COCO_1.jpg", "text": "Is there a cat?", "label": "yes"})
    (tmp_path / "COCO_1.jpg").write_bytes(an_image(1))
    for subset in ("random", "popular"):
        rows.to_json(tmp_path / f"coco_pope_{subset}.json", orient="records", lines=True)
    assert [each.subset for each in read("pope", tmp_path)] == ["popular", "random"]
    rows.to_json(tmp_path / "coco_pope_random (1).json", orient="records", lines=True)
    with pytest.raises(ConfigError, match=r"1 of its 1 rows are in .*coco_pope_random \(1\)\.json too"):
        read("pope", tmp_path)
