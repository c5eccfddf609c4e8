"""Data sets in JSON lines: what stands within a line, how many there are, and texts that no file can hold."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any, cast

import pytest

from spavl.cli.main import main
from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files import row_files
from spavl.evaluation.paraphrases import open_paraphrases
from spavl.judges.gold_answers import read_gold_answers
from spavl.models.factory import ModelFactory
from spavl.records import Sample
from spavl.store import RunFolder
from tests.pipeline.test_pipeline import rejects
from tests.publishing.test_import import an_image, bring_in, copy

__all__ = ["copy"]

# All at which `str.splitlines` cuts, but for those that JSON does not take within a text.
WITHIN = "one\u2028two\u2029three\x85four"
HALF = "half \ud800 of it"
DEEP = "[" * 100_000


def a_line(number: int, **more: Any) -> dict[str, Any]:
    image = base64.b64encode(an_image(number)).decode()
    return {
        "question": f"what {number}?",
        "image": image,
        "chosen": f"no {number}",
        "rejected": f"yes {number}",
        **more,
    }


def write(file: Path, *rows: dict[str, Any], as_ascii: bool = False) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=as_ascii) + "\n" for row in rows), encoding="utf-8")
    return file


def samples(run: Path) -> list[Sample]:
    with RunFolder(run, look_only=True) as opened:
        return list(opened.read("dataset", Sample))


def test_marks_within_a_text_end_no_line(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train.jsonl", a_line(1, chosen=WITHIN), a_line(2))
    run = bring_in(tmp_path / "set", tmp_path / "run")
    assert {sample.chosen for sample in samples(run)} == {WITHIN, "no 2"}


def test_a_benchmarks_lines_end_where_they_end(tmp_path: Path) -> None:
    for name in ("of.jsonl", "of.json"):
        found = list(row_files.rows(write(tmp_path / name, {"question": WITHIN}, {"question": "b"})))
        assert [row.question_text("question") for row in found] == [WITHIN, "b"]


@pytest.mark.parametrize("conversation", [False, True])
def test_a_split_of_one_line_is_a_row(tmp_path: Path, conversation: bool) -> None:
    """With lists in it, the longest was taken for the rows; without, there were none."""
    asked: dict[str, Any] = {}
    if conversation:
        turns = [{"role": "user", "content": "<image>hm?"}, {"role": "assistant", "content": "no"}]
        asked = {"messages": turns, "rejected_response": "yes", "images": [a_line(9)["image"]]}
    write(tmp_path / "set" / "train.jsonl", *(a_line(number) for number in (1, 2)))
    write(tmp_path / "set" / "validation.jsonl", asked or a_line(9))
    found = samples(bring_in(tmp_path / "set", tmp_path / "run"))
    assert sorted(sample.split for sample in found) == ["train", "train", "validation"]


def test_a_benchmark_of_one_row_is_one(tmp_path: Path) -> None:
    for name in ("of.jsonl", "of.json"):
        (row,) = row_files.rows(write(tmp_path / name, {"question": "a"}))
        assert row.question_text("question") == "a"
    (row,) = row_files.rows(write(tmp_path / "of.jsonl", {"question": "a", "choices": ["x", "y"]}))
    assert row.cell("choices") == ["x", "y"]


@pytest.mark.parametrize("column", ["question", "chosen", "class1", "image_name", "image", "extra"])
def test_half_a_character_costs_one_row(tmp_path: Path, column: str) -> None:
    """Records cannot be hashed nor tables written with it: it was a fault of spavl."""
    write(tmp_path / "set" / "train.jsonl", a_line(1), a_line(2, **{column: HALF}), a_line(3), as_ascii=True)
    run = bring_in(tmp_path / "set", tmp_path / "run")
    assert {row.parent_id: row.reason for row in rejects(run, "dataset")} == {"row 1": "lone_surrogate"}
    assert len(samples(run)) == 2


def test_two_halves_are_a_character(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train.jsonl", a_line(1, chosen="a \U0001f600"), as_ascii=True)
    assert "\\ud83d" in (tmp_path / "set" / "train.jsonl").read_text()
    assert samples(bring_in(tmp_path / "set", tmp_path / "run"))[0].chosen == "a \U0001f600"


def test_a_benchmark_names_the_row_that_holds_half_a_character(tmp_path: Path) -> None:
    file = write(tmp_path / "of.jsonl", {"question": "a"}, {"question": HALF}, as_ascii=True)
    _, row = row_files.rows(file)
    with pytest.raises(ConfigError, match="half a character") as told:
        row.question_text("question")
    assert "row 1" in told.value.where


def test_a_line_that_is_nested_too_deeply_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "set" / "train.jsonl", a_line(1))
    file.write_text(file.read_text() + f'{{"question": {DEEP}\n')
    assert main(["data", "import", str(tmp_path / "set"), "--out", str(tmp_path / "run")]) == 2
    assert "train.jsonl, row 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "row", ['{"image": ' + DEEP, '{"image": "1.jpg", "question": "a\\ud800"}'], ids=["deep", "half"]
)
def test_a_row_of_meta_files_that_cannot_be_taken_is_named(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str
) -> None:
    (copy / "meta_files" / "prefer" / "easy.json").write_text(f'[{{"image": "2.jpg"}}, {row}]')
    assert main(["data", "import", str(copy), "--out", str(tmp_path / "run")]) == 2
    assert "easy.json, row 1" in capsys.readouterr().err


def test_paraphrases_end_at_lines(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", {"question": "q", "paraphrase": WITHIN})
    reworded = open_paraphrases(str(file), ModelFactory.__new__(ModelFactory))
    assert asyncio.run(cast(Any, reworded("q"))) == WITHIN


def test_anchors_end_at_lines_and_name_what_cannot_be_written(tmp_path: Path) -> None:
    anchor = {"question": "q", "answer": WITHIN, "label": "safe"}
    assert [each.answer for each in read_gold_answers(str(write(tmp_path / "a.jsonl", anchor)))] == [WITHIN]
    bad = write(tmp_path / "b.jsonl", anchor, {**anchor, "answer": HALF}, as_ascii=True)
    with pytest.raises(ConfigError, match="half a character") as told:
        read_gold_answers(str(bad))
    assert told.value.where.endswith("b.jsonl:2")
