"""Tables as other tools write them: numbers with decimal commas, columns that were put together, lists of captions."""

import json
import unicodedata
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from spavl.data.sourcing.readers.entry import RowLimits, SkippedEntry, SourceEntry, number
from spavl.data.sourcing.shards import SourceShard
from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files import row_files
from tests.data.sourcing.test_sources import png, walk, web

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


def test_an_image_is_found_by_its_name_in_either_unicode_form(tmp_path: Path) -> None:
    stored = unicodedata.normalize("NFD", "Bär.png")
    (tmp_path / stored).write_bytes(png(1))
    table = pd.DataFrame({"file_name": [unicodedata.normalize("NFC", "Bär.png")], "text": ["a ball"]})
    table.to_csv(tmp_path / "metadata.csv", index=False)
    assert [row.source for row in read(tmp_path / "metadata.csv")[0]] == [f"file:{tmp_path / stored}"]
    table.to_json(tmp_path / "of.jsonl", orient="records", lines=True)
    (row,) = row_files.rows(tmp_path / "of.jsonl")
    assert row.image("file_name")() == png(1)


def test_images_and_tables_of_other_formats_are_told(tmp_path: Path) -> None:
    for shade, name in enumerate(("0.tif", "1.bmp", "2.jpg", "3.jfif", "4.AVIF")):
        image = Pillow.new("RGB", (64, 64), (0, 9 * shade, 0))
        image.save(tmp_path / name, None if name.endswith((".tif", ".bmp")) else "JPEG")
        (tmp_path / name).with_suffix(".txt").write_text("a red ball")
    table = pd.DataFrame({"url": [web(1)], "text": ["a red ball"]})
    table.to_json(tmp_path / "t.ndjson", orient="records", lines=True)
    table.to_feather(tmp_path / "t.feather")
    made = walk(tmp_path, tmp_path, "sourcing")
    assert {row.source.rpartition("/")[2] for row in made["sourcing"]} == {"2.jpg", "3.jfif", web(1).rpartition("/")[2]}
    told = {Path(row.detail).name: row.reason for row in made["rejects"]}
    assert told == dict.fromkeys(("0.tif", "1.bmp", "4.AVIF", "t.feather"), "other_format")


def test_folders_within_a_leafs_folder_are_the_leafs(tmp_path: Path) -> None:
    for name in ("1.png", "batch1/1.png", "batch1/more/2.png", ".hidden/3.png"):
        file = tmp_path / "source" / "red" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(1))
        file.with_suffix(".txt").write_text(name)
    made = walk(tmp_path, tmp_path / "source", "sourcing")
    assert [row.caption for row in made["sourcing"]] == ["1.png", "batch1/1.png", "batch1/more/2.png"]
    assert not made["rejects"]


def test_advice_about_a_table_of_ones_own_is_not_to_download_it_again(tmp_path: Path) -> None:
    pd.DataFrame({"file_name": ["gone.png"]}).to_csv(tmp_path / "of.csv", index=False)
    (row,) = row_files.rows(tmp_path / "of.csv")
    with pytest.raises(ConfigError, match=r"gone\.png is missing") as told:
        row.image("file_name")
    assert "put the image there" in told.value.then
    pq.write_table(pa.table([["a"], ["b"]], names=["chosen", "chosen"]), tmp_path / "of.parquet")
    with pytest.raises(ConfigError, match="two columns 'chosen'") as told:
        list(row_files.rows(tmp_path / "of.parquet"))
    assert told.value.then.startswith("rename one of the two")
