"""Data sets as other tools leave them: links, other endings, partitions, merged columns, empty tables."""

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spavl.cli.main import main
from spavl.data.dataset.audit import TRAINING_SPLITS
from spavl.data.dataset.config import DatasetConfig
from spavl.publishing.importing import bring_in as importing
from spavl.publishing.importing.sources import files_of, passed_over
from spavl.records import Category, Sample
from spavl.terminal.progress import Screen
from tests.pipeline.test_pipeline import rows
from tests.publishing.test_import import BROKEN, a_pair, an_image, bring_in, classes


def save(file: Path, table: list[dict[str, Any]], **more: Any) -> Path:
    """A table as pandas writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table).to_parquet(file, **more)
    return file


def samples(run: Path) -> list[Sample]:
    return rows(run, "dataset", Sample)


def test_a_training_row_without_answers_is_left_out_and_the_others_are_counted(tmp_path: Path) -> None:
    table = [a_pair(number) for number in range(1, 7)]
    table[2] |= {"chosen": None, "rejected": None}
    save(tmp_path / "set" / "train.parquet", table)
    save(tmp_path / "set" / "validation.parquet", [a_pair(9)])
    made = importing.bring_in(str(tmp_path / "set"), tmp_path / "run", DatasetConfig(), Screen())
    assert (made.rows, made.rejects) == ({"train": 5, "validation": 1}, {"empty": 1})
    assert {sample.split for sample in samples(tmp_path / "run")} == set(TRAINING_SPLITS)


def test_a_split_with_pairs_and_questions_counts_both(tmp_path: Path) -> None:
    asked = {**a_pair(2), "chosen": None, "rejected": None}
    save(tmp_path / "set" / "harm.parquet", [a_pair(1), asked, a_pair(3)])
    made = importing.bring_in(str(tmp_path / "set"), tmp_path / "run", DatasetConfig(), Screen())
    assert made.rows == {"test": 3}


def test_the_folder_of_a_split_may_be_a_link(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "part.0.parquet", [a_pair(1), a_pair(2)])
    save(tmp_path / "set" / "validation" / "part.0.parquet", [a_pair(3)])
    (tmp_path / "set" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path)
    found = samples(bring_in(tmp_path / "set", tmp_path / "run"))
    assert sorted(sample.split for sample in found) == ["train", "train", "validation"]


def test_files_of_other_endings_are_read_or_named(tmp_path: Path) -> None:
    save(tmp_path / "train-0.parquet", [a_pair(1)])
    save(tmp_path / "train-1.PARQUET", [a_pair(2)])
    others = ["train-2.pq", "train-3.ndjson", "train-4.feather", "train.sqlite", "rest.XLSX"]
    for name in (*others, "readme.md", "photograph.png"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file, _, _ in files_of(tmp_path)] == ["train-0.parquet", "train-1.PARQUET"]
    assert passed_over(tmp_path) == ["rest.XLSX", "train-*.pq", "train-*.ndjson", "train-*.feather", "train.sqlite"]


def test_rows_of_a_file_whose_ending_is_in_capitals_are_read(tmp_path: Path) -> None:
    save(tmp_path / "set" / "train-1.PARQUET", [a_pair(1), a_pair(2)])
    assert len(samples(bring_in(tmp_path / "set", tmp_path / "run"))) == 2


def test_the_class_of_a_partitioned_table_is_in_the_names_of_its_folders(tmp_path: Path) -> None:
    table = [{**a_pair(number), **classes(BROKEN)} for number in (1, 2)]
    table.append({**a_pair(3), **classes(("", "Unfair", "other / one")), "class1": None})
    save(tmp_path / "set" / "train", table, partition_cols=["class1", "class3"])
    run = bring_in(tmp_path / "set", tmp_path / "run")
    found = {category.published for category in rows(run, "taxonomy", Category)}
    assert found == {BROKEN, ("", "Unfair", "other / one")}


def test_each_row_of_merged_sets_has_its_image_in_a_column_of_its_own(tmp_path: Path) -> None:
    held = [base64.b64encode(an_image(number)).decode() for number in range(4)]
    shown: list[dict[str, Any]] = [{"image": held[0]}, {"images": [held[1]]}, {"image": held[2], "images": []}]
    shown.append({"images": None, "image": held[3]})
    lines = [{"question": f"what {k}?", "chosen": "no", "rejected": "yes", **each} for k, each in enumerate(shown)]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(samples(bring_in(tmp_path / "set", tmp_path / "run"))) == 4


def test_an_empty_column_of_images_hides_no_full_one(tmp_path: Path) -> None:
    file = save(tmp_path / "set" / "train.parquet", [{**a_pair(number), "images": None} for number in (1, 2)])
    assert pa.types.is_null(pq.read_schema(file).field("images").type)
    assert len(samples(bring_in(tmp_path / "set", tmp_path / "run"))) == 2


def test_turns_of_merged_sets_are_read_from_the_keys_that_are_filled(tmp_path: Path) -> None:
    def turn(**filled: str) -> dict[str, str | None]:
        return {"role": None, "content": None, "from": None, "value": None, **filled}

    table = [
        {"images": [a_pair(1)["image"]], "conversations": [turn(**{"from": "human", "value": "hm?"})]},
        {"images": [a_pair(2)["image"]], "conversations": [turn(role="user", content="hm?")]},
    ]
    answers = {"chosen": turn(**{"from": "gpt", "value": "no"}), "rejected": turn(role="assistant", content="yes")}
    save(tmp_path / "set" / "train.parquet", [{**row, **answers} for row in table])
    found = samples(bring_in(tmp_path / "set", tmp_path / "run"))
    assert [(each.question, each.chosen, each.rejected) for each in found] == [("hm?", "no", "yes")] * 2


def test_a_table_without_rows_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").mkdir()
    pd.DataFrame({name: [] for name in a_pair(1)}, dtype=object).to_parquet(tmp_path / "set" / "train.parquet")
    assert main(["data", "import", str(tmp_path / "set"), "--out", str(tmp_path / "run")]) == 2
    assert "this data set has no rows" in capsys.readouterr().err
    save(tmp_path / "set" / "train-1.parquet", [a_pair(1), a_pair(2)])
    assert len(samples(bring_in(tmp_path / "set", tmp_path / "other"))) == 2


def test_classes_and_models_that_are_numbers_begin_with_0(tmp_path: Path) -> None:
    """As `datasets` stores names of classes. The class 0 was taken for an empty cell."""
    of_answers = {"chosen_model": 0, "rejected_model": 1}
    table = [a_pair(k, class1=k % 2, class2=k % 2, class3=k % 4, **of_answers) for k in range(1, 9)]
    save(tmp_path / "set" / "train.parquet", table)
    run = bring_in(tmp_path / "set", tmp_path / "run")
    assert {each.leaf for each in samples(run)} == {"0", "1", "2", "3"}
    assert {each.domain for each in rows(run, "taxonomy", Category)} == {"0", "1"}
    assert {(each.chosen_model, each.rejected_model) for each in samples(run)} == {("0", "1")}
