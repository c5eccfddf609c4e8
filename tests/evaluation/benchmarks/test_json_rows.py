"""JSON files that are one object: a row, rows by key, or a list of rows beside other things."""

import json
from pathlib import Path
from typing import Any

import pytest

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files import row_files

TURNS = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "This."}]


def read(tmp_path: Path, content: Any) -> list[dict[str, Any]]:
    (tmp_path / "rows.json").write_text(json.dumps(content))
    return [dict(row.cells) for row in row_files.rows(tmp_path / "rows.json")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS, "rejected_response": "That.", "images": ["1.png", "2.png", "3.png"]},
        {"conversations": [{"from": "human", "value": "What?"}], "image": "1.png"},
        {"chosen": TURNS, "rejected": TURNS, "images": [{"bytes": None, "path": "1.png"}]},
        {"question": "What?", "images": [{"path": "1.png"}]},
        {"question": "What?", "image": {"bytes": "", "path": "1.png"}},
        {"question": "What?", "chosen": "This.", "objects": [{"box": [1, 2]}]},
    ],
)
def test_an_object_that_is_a_row_is_read_as_one(tmp_path: Path, row: dict[str, Any]) -> None:
    """Its turns, its images or what its image holds were read as rows."""
    assert read(tmp_path, row) == [row]


def test_several_lists_of_rows_are_refused(tmp_path: Path) -> None:
    """The longest alone was read, in silence."""
    rows = [{"question": f"What {number}?"} for number in range(6)]
    with pytest.raises(ConfigError, match="this file holds 2 lists of rows: part1, part2") as caught:
        read(tmp_path, {"part1": rows[:2], "part2": rows[2:]})
    assert "a file of its own" in caught.value.then


def test_a_list_beside_other_things_and_rows_by_key_are_read(tmp_path: Path) -> None:
    rows = [{"question": "What?"}, {"question": "Which?"}]
    for more in ({"info": {"year": 1}}, {"tags": ["a", "b", "c"]}, {"instruction": "Answer shortly."}, {"more": []}):
        assert read(tmp_path, {**more, "questions": rows}) == rows
    assert read(tmp_path, {"1": rows[0], "2": rows[1]}) == [{"key": "1", **rows[0]}, {"key": "2", **rows[1]}]
    for content in ({"question": ["What?"], "image": ["1.png"]}, 5, "text", [1]):
        with pytest.raises(ConfigError, match="holds no rows with the names of their columns"):
            read(tmp_path, content)
