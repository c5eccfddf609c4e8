"""Tables of strangers: what is said in them is read row by row, whatever its form, its size and its faults."""

import contextlib
import gzip
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.data.sourcing.readers.entry import LONGEST_TEXT, RowLimits, SkippedEntry, SourceEntry
from spavl.data.sourcing.shards import SourceShard
from spavl.imaging.tables.cells import TableCells
from spavl.imaging.unfetchable import Unfetchable
from tests.data.sourcing.test_sources import CAPTIONS, as_arrow_file, as_image_folder, png, walk, web, write_csv
from tests.support.peak_memory import taken

# What a process of its own needs to read a source.
READER = """
from spavl.data.sourcing.readers.entry import RowLimits
from spavl.data.sourcing.shards import SourceShard
"""


def read(file: Path) -> list[SourceEntry | SkippedEntry]:
    return list(SourceShard(file).entries(RowLimits()))


def reasons(file: Path) -> Counter[str]:
    return Counter(row.reason for row in read(file) if isinstance(row, SkippedEntry))


def sources(file: Path) -> list[str]:
    return [row.source for row in read(file) if isinstance(row, SourceEntry)]


# --- lines


def test_a_field_that_is_too_long_costs_its_row_only(tmp_path: Path) -> None:
    said = ["a ball", "x" * 200_000, "y" * 3_000_000, "another ball"]
    file = write_csv(tmp_path / "urls.csv", [{"URL": web(k), "TEXT": text} for k, text in enumerate(said)])
    assert sources(file) == [web(0), web(3)]
    assert reasons(file) == {"broken_row": 2}


@pytest.mark.slow
def test_a_packed_line_of_any_length_takes_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "urls.csv.gz"
    with gzip.open(file, "wt", compresslevel=1) as opened:
        opened.write(f"URL,TEXT\n{web(0)},")
        for _ in range(200):
            opened.write("x" * 2**20)
        opened.write(f"\n{web(1)},a ball\n")
    work = "kinds = [type(row).__name__ for row in SourceShard(Path(sys.argv[1])).entries(RowLimits())]"
    assert taken(READER, f"{work}; assert kinds == ['SkippedEntry', 'SourceEntry'], kinds", file) < 30, "of 200 MB"


def test_lines_of_json_are_rows_or_have_a_reason(tmp_path: Path) -> None:
    rows = [json.dumps({"url": web(k), "caption": said}) for k, said in enumerate(CAPTIONS)]
    file = tmp_path / "urls.jsonl"
    file.write_text("\n".join([*rows, "[]", '{"url": ', "[" * 100_000, '{"caption": "of nothing"}']))
    assert sources(file) == [web(number) for number in range(len(CAPTIONS))]
    assert reasons(file) == {"broken_row": 3, "no_file": 1}


# --- texts that many rows share


@pytest.mark.parametrize("encoding", ["dictionary", "DELTA_BYTE_ARRAY"])
@pytest.mark.slow
def test_a_text_that_many_rows_share_is_never_unpacked_for_all_of_them(tmp_path: Path, encoding: str) -> None:
    """The file states 1 MB, and means 100."""
    file = tmp_path / "bomb.parquet"
    table = pa.table({"url": [web(k) for k in range(100)], "text": ["ball " * 200_000] * 100})
    if encoding == "dictionary":
        pq.write_table(table, file, dictionary_pagesize_limit=2**30)
    else:
        pq.write_table(table, file, use_dictionary=False, column_encoding={"url": "PLAIN", "text": encoding})
    work = "longest = max(len(row.caption) for row in SourceShard(Path(sys.argv[1])).entries(RowLimits()))"
    assert taken(READER, f"{work}; assert longest <= {LONGEST_TEXT}, longest", file) < 40, "of 100 MB"


def test_one_vast_value_in_a_small_file_is_not_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "bomb.parquet"
    table = pa.table({"image": [bytes(130 * 2**20)], "text": ["a ball"]})
    pq.write_table(table, file, compression="zstd", use_dictionary=False, write_statistics=False)
    before = f"{READER}from spavl.imaging.tables.cells import TableCells"
    work = "assert TableCells().large_group(sys.argv[1], 'image', 0) is None"
    work += "; assert len(list(SourceShard(Path(sys.argv[1])).entries(RowLimits()))) == 1"
    assert taken(before, work, file) < 30, "of 130 MB"
    assert file.stat().st_size < 2**15 and reasons(file) == {"packed_too_tightly": 1}


@pytest.mark.parametrize("encoding", ["RLE_DICTIONARY", "PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_a_table_says_the_same_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "urls.parquet"
    said = [*CAPTIONS[:-1], None]
    table = pa.table({"url": [web(k) for k in range(len(said))], "text": said, "WIDTH": [9] * len(said)})
    packed = encoding == "RLE_DICTIONARY"
    named = None if packed else {"url": encoding, "text": encoding, "WIDTH": "PLAIN"}
    pq.write_table(table, file, use_dictionary=packed, column_encoding=named, row_group_size=3)
    found = [row for row in read(file) if isinstance(row, SourceEntry)]
    assert [(row.source, row.caption) for row in found] == [(web(k), text or "") for k, text in enumerate(said)]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_several_captions_of_an_image_are_all_read(tmp_path: Path, kind: str) -> None:
    rows = {"image": [png(0), png(1), png(2)], "captions": [["a red ball", "it is red"], [], None]}
    table = pa.table(rows).rename_columns(["image", "caption"])
    file = tmp_path / f"some.{kind}"
    if kind == "parquet":
        pq.write_table(table, file)
    else:
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    assert [row.caption for row in read(file) if isinstance(row, SourceEntry)] == ["a red ball it is red", "", ""]


# --- Arrow


@given(st.data())
def test_a_damaged_arrow_file_never_breaks_a_run(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = as_arrow_file(tmp_path_factory.mktemp("arrow"))
    damaged = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    assert all(isinstance(found, SourceEntry | SkippedEntry) for found in read(file))
    cells = TableCells()
    for row in range(len(CAPTIONS)):
        with contextlib.suppress(Unfetchable):
            assert isinstance(cells.get(str(file), "image", row), bytes)


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("opened", [pa.ipc.new_file, pa.ipc.new_stream])
def test_an_arrow_file_that_is_packed_is_refused(tmp_path: Path, opened: Any, dictionary: bool) -> None:
    file, said = tmp_path / "packed.arrow", pa.array([" ".join(CAPTIONS) * 99])
    table = pa.table({"image": [png(0)], "text": said.dictionary_encode() if dictionary else said})
    for packed in (None, "lz4", "zstd"):
        with opened(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=packed)) as writer:
            writer.write_table(table)
        assert reasons(file) == ({"packed_too_tightly": 1} if packed else {})
        if packed:
            with pytest.raises(Unfetchable):
                TableCells().get(str(file), "image", 0)


def test_an_arrow_file_that_breaks_off_gives_what_stands_before_the_break(tmp_path: Path) -> None:
    file = as_arrow_file(tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 5])
    assert reasons(file) == {"broken_table": 1}
    cells = TableCells()
    for row in range(3):
        assert cells.get(str(file), "image", row) == png(row)


def test_a_cell_of_an_arrow_file_is_had_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, rows = as_arrow_file(tmp_path), list(range(len(CAPTIONS)))
    for largest in (0, 2**26):
        monkeypatch.setattr("spavl.imaging.tables.cells._LARGEST_HELD", largest)
        Random(largest).shuffle(rows)
        cells = TableCells()
        assert [cells.get(str(file), "image", row) for row in rows] == [png(row) for row in rows]


# --- tables that name images beside them


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_each_image_of_an_image_folder_is_taken_in_once(tmp_path: Path, kind: str) -> None:
    made = walk(tmp_path, as_image_folder(tmp_path, kind), "sourcing")
    about: dict[str, Any] = json.loads((tmp_path / "run" / "stages" / "sourcing.json").read_text())["notes"]
    assert about == {"images_in_source": len(CAPTIONS), "left_out": {}} and not made["rejects"]


def test_a_table_names_no_file_but_those_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(png(1))
    (folder / "good.png").write_bytes(png(0))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    names = ["good.png", "../secret.png", str(tmp_path / "secret.png"), "link.png", "none.png", "x" * 5000, "a\0b", ""]
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps({"file_name": name}) for name in names))
    assert sources(folder / "metadata.jsonl") == [f"file:{folder}/good.png"]
    assert reasons(folder / "metadata.jsonl") == {"leads_outside": 1, "no_file": 6}


def test_a_url_is_asked_where_its_file_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(png(0))
    rows = [{"file_name": f"{number}.png", "URL": web(number), "TEXT": "a ball"} for number in range(2)]
    found = [row for row in read(write_csv(tmp_path / "both.csv", rows)) if isinstance(row, SourceEntry)]
    assert [(row.source, row.url) for row in found] == [(f"file:{tmp_path}/0.png", web(0)), (web(1), web(1))]
