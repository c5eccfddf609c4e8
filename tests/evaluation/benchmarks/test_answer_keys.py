"""Options, right answers and questions as strangers wrote them: what cannot be right is refused, never scored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import registry
from spavl.evaluation.benchmarks.ability.instructions import options_of
from spavl.evaluation.benchmarks.types import BenchmarkItem
from tests.support.benchmark_files import an_image, in_base64, put_csv, put_json


def read(name: str, folder: Path) -> list[BenchmarkItem]:
    return list(registry.benchmark_named(name).items(folder))


def science(folder: Path, **cells: Any) -> list[BenchmarkItem]:
    """ScienceQA as pandas writes it: three questions, the second of which is odd."""
    usual = {"question": "Which?", "choices": ["a", "b", "c"], "answer": 1, "hint": "", "image": {"bytes": an_image(1)}}
    table = pd.DataFrame([usual, {**usual, **cells}, usual])
    table.to_parquet(folder / "test-0.parquet")
    return read("scienceqa", folder)


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ({"answer": -1}, "the key '-1' is no place"),
        ({"answer": 3}, "the key '3' is none of the options that are offered, A, B, C"),
        ({"answer": None}, "the key 'None' is no place"),
        ({"answer": 0.5}, "the key '0.5' is no place"),
        ({"choices": ["a", None, "c"]}, "no list of texts"),
        ({"choices": ["a", " ", "c"]}, "the key 'B' is none of the options that are offered, A, C"),
        ({"choices": ["a"]}, "offers 1 options"),
        ({"question": None}, "asks nothing: its cell is empty"),
        ({"question": " "}, "asks nothing"),
    ],
)
def test_a_row_of_science_that_cannot_be_right_is_named(tmp_path: Path, cells: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        science(tmp_path, **cells)
    assert f"{tmp_path / 'test-0.parquet'}, row 1" in caught.value.where


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ({"choices": ["['a' 'b']"] * 3}, "no list of texts"),
        ({"choices": [{"text": ["a", "b"]}] * 3}, "no list of texts"),
        ({"answer": ["A"] * 3}, "the key 'A' is no place"),
        ({"answer": ["0.0"] * 3}, "the key '0.0' is no place"),
        ({"answer": [True] * 3}, "the key 'True' is no place"),
    ],
)
def test_a_column_of_another_kind_is_named(tmp_path: Path, column: dict[str, Any], what: str) -> None:
    table = {"question": ["Which?"] * 3, "choices": [["a", "b"]] * 3, "answer": [0] * 3, "image": [an_image(1)] * 3}
    pq.write_table(pa.table({**table, **column}), tmp_path / "test-0.parquet")
    with pytest.raises(ConfigError, match=what) as caught:
        read("scienceqa", tmp_path)
    assert caught.value.where.startswith(f"{tmp_path / 'test-0.parquet'}, row 0")


def test_options_as_json_and_keys_that_pandas_made_fractions_are_read(tmp_path: Path) -> None:
    found = science(tmp_path, choices=["x", "y"], answer=0.0)[1]
    assert (options_of(found.question), found.references) == ({"A": "x", "B": "y"}, ("A",))
    table = pd.DataFrame([{"question": "Which?", "choices": json.dumps(["x", "y"]), "answer": 1, "image": an_image(1)}])
    table.to_parquet(tmp_path / "test-0.parquet")
    (found,) = read("scienceqa", tmp_path)
    assert (options_of(found.question), found.references) == ({"A": "x", "B": "y"}, ("B",))


MMBENCH = {"index": "7", "question": "Which?", "A": "one", "B": "two", "C": "", "D": "nan", "answer": "b"}


def test_mmbench_takes_small_letters(tmp_path: Path) -> None:
    put_csv(tmp_path / "MMBench_DEV_EN.tsv", [{**MMBENCH, "image": in_base64(an_image(1))}])
    assert [found.references for found in read("mmbench", tmp_path)] == [("B",)]


@pytest.mark.parametrize(
    "wrong", [{"answer": "0"}, {"answer": "C"}, {"answer": "D"}, {"index": "7.0"}, {"question": ""}]
)
def test_mmbench_refuses_what_is_no_option(tmp_path: Path, wrong: dict[str, str]) -> None:
    put_csv(tmp_path / "MMBench_DEV_EN.tsv", [{**MMBENCH, "image": in_base64(an_image(1)), **wrong}])
    with pytest.raises(ConfigError, match=r"is none of the options|no whole number|asks nothing") as caught:
        read("mmbench", tmp_path)
    assert caught.value.where.startswith(f"{tmp_path / 'MMBench_DEV_EN.tsv'}, row 0")


SEED = {"data_type": "image", "question_id": "1", "question": "Which?", "data_id": "1.png"}


@pytest.mark.parametrize("wrong", [{"answer": None}, {"answer": "E"}, {"answer": "1"}, {"choice_b": None}])
def test_seed_refuses_what_is_no_option(tmp_path: Path, wrong: dict[str, Any]) -> None:
    (tmp_path / "1.png").write_bytes(an_image(1))
    row = {**SEED, **{f"choice_{letter}": letter * 2 for letter in "abcd"}, "answer": "d"}
    put_json(tmp_path / "SEED-Bench.json", [row])
    assert [found.references for found in read("seed", tmp_path)] == [("D",)]
    put_json(tmp_path / "SEED-Bench.json", [{**row, **wrong}])
    with pytest.raises(ConfigError, match=r"is none of the options|words are needed"):
        read("seed", tmp_path)


@pytest.mark.parametrize("answers", ["['yes', 'no']", ["yes", None], [{"said": "yes"}], [True], 3 * [["yes"]]])
def test_what_people_answered_is_a_list_of_texts(tmp_path: Path, answers: Any) -> None:
    (tmp_path / "1.png").write_bytes(an_image(1))
    put_json(tmp_path / "val.json", [{"image": "1.png", "question": "Which?", "answers": answers}])
    with pytest.raises(ConfigError, match="no list of texts"):
        read("vizwiz", tmp_path)


@pytest.mark.parametrize("answer", [True, "True", "B", None, float("nan"), ""])
def test_an_answer_that_no_model_gives_is_refused(tmp_path: Path, answer: Any) -> None:
    """It is neither yes nor no nor a number."""
    (tmp_path / "1.png").write_bytes(an_image(1))
    put_json(tmp_path / "oodcv-vqa.json", [{"image": "1.png", "question": "Is there one?", "answer": answer}])
    with pytest.raises(ConfigError, match=r"words are needed|neither yes nor no"):
        read("oodcv-vqa", tmp_path)


PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "siuo": ("siuo_gen.json", {"question_id": 1, "category": "c", "image": "1.png"}),
    "mossbench": ("information.json", {"pid": 1, "image": "1.png"}),
    "oodcv-vqa": ("oodcv-vqa.json", {"answer": "yes", "image": "1.png"}),
    "vizwiz": ("val.json", {"answers": ["a"] * 10, "image": "1.png"}),
    "pope": ("coco_pope_random.json", {"question_id": 1, "label": "yes", "image": "1.png"}),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("question", [None, "", " \n", float("nan"), ["What?"], 3])
def test_no_model_is_asked_nothing(tmp_path: Path, name: str, question: Any) -> None:
    (tmp_path / "1.png").write_bytes(an_image(1))
    file, row = PLAIN[name]
    put_json(tmp_path / file, [{**row, "question": question}])
    with pytest.raises(ConfigError, match="asks nothing") as caught:
        read(name, tmp_path)
    assert caught.value.where == f"{tmp_path / file}, row 0, column question"


@pytest.mark.parametrize("column", ["question", "prompt"])
def test_a_null_question_in_parquet_is_named(tmp_path: Path, column: str) -> None:
    asked = np.array(["What?", None, "Which?"], dtype=object)
    pd.DataFrame({column: asked, "image": [an_image(n) for n in range(3)]}).to_parquet(tmp_path / "harm-0.parquet")
    with pytest.raises(ConfigError, match="asks nothing") as caught:
        read("harmeval", tmp_path)
    assert caught.value.where == f"{tmp_path / 'harm-0.parquet'}, row 1, column {column}"


@pytest.mark.parametrize("turns", [[], [{"instruction": None}], [{"instruction": " "}], ["x"], [{"response": "x"}]])
def test_vlguard_refuses_an_image_without_an_instruction(tmp_path: Path, turns: list[Any]) -> None:
    (tmp_path / "1.png").write_bytes(an_image(1))
    put_json(tmp_path / "test.json", [{"image": "1.png", "instr-resp": turns}])
    with pytest.raises(ConfigError, match="instruction"):
        read("vlguard", tmp_path)


@pytest.mark.parametrize("ending", ["", "\nAnswer the question using a single word or phrase."])
def test_how_to_answer_is_said_once(tmp_path: Path, ending: str) -> None:
    (tmp_path / "1.png").write_bytes(an_image(1))
    row = {"question_id": 1, "label": "yes", "image": "1.png", "text": f"Is there one?{ending}"}
    put_json(tmp_path / "coco_pope_random.json", [row])
    (pope,) = read("pope", tmp_path)
    assert pope.question == "Is there one?\nAnswer the question using a single word or phrase."
