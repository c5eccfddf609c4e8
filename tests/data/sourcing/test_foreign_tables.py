"""Tables as other tools write them: numbers with decimal commas, columns that were put together, lists of captions."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from spavl.data.sourcing.readers.entry import RowLimits, SkippedEntry, SourceEntry, number
from spavl.data.sourcing.shards import SourceShard
from tests.data.sourcing.test_sources import web

NO_LIMITS = RowLimits()


def read(file: Path, limits: RowLimits = NO_LIMITS) -> tuple[list[SourceEntry], Counter[str]]:
    found = list(SourceShard(file).entries(limits))
    skipped = Counter(row.reason for row in found if isinstance(row, SkippedEntry))
    return [row for row in found if isinstance(row, SourceEntry)], skipped


@pytest.mark.parametrize("decimal", [",", "."])
def test_unsafe_rows_are_left_out_whatever_the_decimal_sign(tmp_path: Path, decimal: str) -> None:
    table = pd.DataFrame({"URL": [web(k) for k in range(4)], "TEXT": "a ball", "punsafe": [0.95, 0.99, 0.1, None]})
    table.to_csv(tmp_path / "urls.csv", sep=";", decimal=decimal, index=False)
    found, skipped = read(tmp_path / "urls.csv", RowLimits(max_unsafe=0.9))
    assert [row.source for row in found] == [web(2), web(3)]
    assert skipped == {"punsafe": 2}


def test_a_stated_value_that_is_no_number_does_not_count_as_safe(tmp_path: Path) -> None:
    table = pd.DataFrame({"URL": [web(k) for k in range(4)], "punsafe": ["95 %", "high", "nan", ""]})
    table.to_csv(tmp_path / "urls.csv", index=False)
    found, skipped = read(tmp_path / "urls.csv", RowLimits(max_unsafe=0.9))
    assert ([row.source for row in found], skipped) == ([web(2), web(3)], {"punsafe_no_number": 2})
    assert len(read(tmp_path / "urls.csv")[0]) == 4, "without a limit, none is left out"


def test_a_comma_is_read_as_decimal_only_where_it_is_clear() -> None:
    assert [number(text) for text in ("0,95", ",5", "640,0", "0,123", " 1,2345 ")] == [0.95, 0.5, 640.0, 0.123, 1.2345]
    assert [number(text) for text in ("1,024", "1,2,3", "a,5", ",")] == [None] * 4


def test_captions_in_a_list_or_in_a_second_column_are_read(tmp_path: Path) -> None:
    rows = [
        {"url": web(0), "text": ["x", "y"]},
        {"url": web(1), "text": None, "caption": "a ball"},
        {"url": None, "image_url": web(2), "text": [], "caption": "two", "license": "", "licence": "CC0"},
        {"url": web(3), "text": ["x", None], "caption": "no"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        found, skipped = read(tmp_path / name)
        assert [row.source for row in found] == [web(k) for k in range(4)] and not skipped
        assert [row.caption for row in found] == ["x y", "a ball", "two", "x"]
        assert found[2].license == "CC0"
