"""Whose turn an answer is, where an image stands among words, and which files of a data set are read."""

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from spavl.cli.main import main
from spavl.publishing.importing.sources import passed_over
from spavl.publishing.importing.turns import answered_of
from spavl.records import Sample
from tests.pipeline.test_pipeline import rejects, rows
from tests.publishing.test_import import an_image, bring_in

TRAIN = "train-00000-of-00001.parquet"


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def pair(number: int, question: Any, chosen: Any = None, rejected: Any = None) -> dict[str, Any]:
    sides = {
        "chosen": [chosen or turn("assistant", f"no {number}")],
        "rejected": [rejected or turn("assistant", f"yes {number}")],
    }
    images = [{"bytes": an_image(number), "path": None}]
    return {"images": images, "prompt": [{"role": "user", "content": question}], **sides}


def save(file: Path, table: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(table).to_parquet(str(file))


def test_turns_of_users_and_tools_are_no_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = [turn("user", "me"), turn("tool", "42"), turn("function_call", "f()"), turn("", "who?")]
    table = [pair(n, f"what {n} ?", **{("chosen", "rejected")[n % 2]: other}) for n, other in enumerate(others)]
    table += [pair(9, "what 9 ?", turn("model", "no"), turn("Assistant", "yes"))]
    save(tmp_path / "set" / TRAIN, table)
    run = bring_in(tmp_path / "set", tmp_path / "run")
    assert [(each.question, each.chosen, each.rejected) for each in rows(run, "dataset", Sample)] == [
        ("what 9 ?", "no", "yes")
    ]
    told = {each.parent_id: (each.reason, each.detail.rpartition(" ")[2]) for each in rejects(run, "dataset")}
    by = ("user", "tool", "function_call", "nobody")
    assert told == {f"row {n}": ("not_by_assistant", who) for n, who in enumerate(by)}
    assert "left out: 4 not_by_assistant" in capsys.readouterr().out


def test_in_sharegpt_a_call_of_a_function_is_no_answer_either(tmp_path: Path) -> None:
    def row(number: int, who: str) -> dict[str, Any]:
        return {
            "images": [{"bytes": an_image(number)}],
            "conversations": [{"from": "human", "value": f"<image>what {number} ?"}],
            "chosen": {"from": who, "value": "call()"},
            "rejected": {"from": "gpt", "value": "no"},
        }

    (tmp_path / "set").mkdir()
    pd.DataFrame([row(0, "function_call"), row(1, "gpt")]).to_parquet(tmp_path / "set" / TRAIN)
    run = bring_in(tmp_path / "set", tmp_path / "run")
    assert [each.question for each in rows(run, "dataset", Sample)] == ["what 1 ?"]
    assert [each.reason for each in rejects(run, "dataset")] == ["not_by_assistant"]


IMAGE = {"type": "image", "text": None}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("content", "question", "is_amid"),
    [
        ([text("Is"), IMAGE, text("this?")], "Is this?", True),
        ([text("Is <image> like"), IMAGE, text("this?")], "Is <image> like this?", True),
        ([IMAGE, text("What is it?")], "What is it?", False),
        ([text("What is it?"), IMAGE], "What is it?", False),
        ([IMAGE, text("Look.\n"), text("What is it?")], "Look.\nWhat is it?", False),
        ([text("one."), text("two?")], "one. two?", False),
        ("Is <image> like this?", "Is like this?", True),
        ("Look.\n<image>\n\nWhat is it?", "Look.\n\nWhat is it?", True),
        ("Is<image>this?", "Is this?", True),
        ("<image>\nWhat is it?", "What is it?", False),
        ("What is it?<image>", "What is it?", False),
    ],
)
def test_words_around_an_image_stay_apart(content: Any, question: str, is_amid: bool) -> None:
    found = answered_of(pair(1, content))
    assert (found.question, found.is_amid) == (question, is_amid)


def test_images_between_words_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = [[text("Is"), IMAGE, text(f"this {n} ?")] if n < 2 else [IMAGE, text(f"what {n} ?")] for n in range(5)]
    save(tmp_path / "set" / TRAIN, [pair(n, content) for n, content in enumerate(contents)])
    run = bring_in(tmp_path / "set", tmp_path / "run")
    assert {each.question for each in rows(run, "dataset", Sample)} >= {"Is this 0 ?", "Is this 1 ?"}
    told = capsys.readouterr()
    assert "in 2 rows the image stood between the question's words" in told.out + told.err
    assert "In 2 of the rows the image was inside the question's text" in (run / "dataset/README.md").read_text()


def test_files_that_are_not_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (TRAIN, "test-00000-of-00002.parquet", "test-00001-of-00002.parquet", "more.parquet"):
        save(tmp_path / "set" / "data" / name, [pair(1, "what ?")])
    pd.DataFrame([{"a": 1}]).to_json(tmp_path / "set" / "extra.jsonl", orient="records", lines=True)
    run = bring_in(tmp_path / "set", tmp_path / "run")
    told = capsys.readouterr()
    left = ["data/more.parquet", "data/test-*.parquet (2 files)", "extra.jsonl"]
    assert f"these files are not read: {', '.join(left)}" in " ".join((told.out + told.err).split())
    notes = json.loads((run / "stages" / "dataset.json").read_text())["notes"]
    assert notes["files_not_read"] == left
    assert passed_over(run / "dataset") == [], "where there are rich rows, plain ones are read with them"


@pytest.mark.parametrize("name", [TRAIN, "harm-0.parquet"])
def test_two_data_sets_in_one_folder_are_not_mixed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "set" / "one" / TRAIN, [pair(1, "what 1 ?")])
    for number, config in enumerate(("one", "two")):
        save(tmp_path / "set" / config / name, [pair(number, f"what {number} ?")])
    assert main(["data", "import", str(tmp_path / "set"), "--out", str(tmp_path / "run")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{name.partition('-')[0]}-*.parquet are in 2 folders" in told and "one, two" in told
    bring_in(tmp_path / "set" / "one", tmp_path / "run")
