"""Images in Parquet tables: any cell in any order, and never much of a table in memory."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.data.downloads.config import FetchConfig
from spavl.data.downloads.fetch import open_fetch
from spavl.engine import isolated_cells as apart
from spavl.imaging.tables import cells as tables
from spavl.imaging.tables.cells import TableCells
from spavl.imaging.unfetchable import Unfetchable
from tests.data.sourcing.test_search import colours
from tests.data.sourcing.test_sources import walk
from tests.support.peak_memory import taken
from tests.support.tiny_clip import save_clip

ROWS = 90


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Groups of 40, 40 and 10 rows; one cell is empty."""
    file = tmp_path_factory.mktemp("table") / "of#some.parquet"
    rows = [{"image": {"bytes": None if row == 50 else b"%d" % row * 9, "path": "x"}} for row in range(ROWS)]
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=40)
    return file


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Every group of a table is taken for a large one; how often each was gone through."""
    counted: Counter[int] = Counter()
    real: Callable[..., Any] = tables._cells

    def counting(path: str, column: str, group: int) -> Any:
        counted[group] += 1
        return real(path, column, group)

    monkeypatch.setattr(tables, "_LARGEST_HELD", 0)
    monkeypatch.setattr(tables, "_cells", counting)
    # Here and not in a process of their own, where nobody could count them; as there, one is answered after another.
    readers, one_by_one = apart._Readers(), threading.Lock()

    def run(shard: list[Any]) -> list[Any]:
        with one_by_one:
            return readers(shard)

    monkeypatch.setattr(apart, "_readers", lambda: SimpleNamespace(run=run))
    return counted


@pytest.mark.parametrize("largest", [0, 2**26])
@given(rows=st.lists(st.integers(-2, ROWS + 2), max_size=12))
@settings(max_examples=30)
def test_any_cell_is_had_in_any_order(table: Path, largest: int, rows: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_LARGEST_HELD", largest)
        cells = TableCells()
        for row in rows:
            if 0 <= row < ROWS and row != 50:
                assert cells.get(str(table), "image", row) == b"%d" % row * 9
            else:
                with pytest.raises(Unfetchable):
                    cells.get(str(table), "image", row)


def test_a_vast_group_is_gone_through_once_for_all_candidates(
    table: Path, streams: Counter[int], tmp_path: Path
) -> None:
    rows = [row for row in range(ROWS) if row != 50]
    Random(1).shuffle(rows)
    sources = [f"parquet:{table}#image/{row}" for row in [*rows[:70], 50]]

    async def fetched() -> list[bytes | str]:
        async with open_fetch(FetchConfig(), tmp_path, 4, lambda: sources) as fetch:

            async def one(source: str) -> bytes | str:
                try:
                    return await fetch(source)
                except Unfetchable as error:
                    return str(error)

            return await asyncio.gather(*map(one, sources))

    assert asyncio.run(fetched()) == [*(b"%d" % row * 9 for row in rows[:70]), "no_bytes"]
    assert streams == {0: 1, 1: 1, 2: 1}
    assert [file.name for file in tmp_path.iterdir() if "sqlite" not in file.name] == []


@pytest.mark.slow
def test_the_search_goes_through_a_vast_group_once(tmp_path: Path, streams: Counter[int]) -> None:
    files = sorted(colours(tmp_path / "loose", each=40).iterdir())
    made = pa.Table.from_pylist([{"image": file.read_bytes()} for file in files])
    (tmp_path / "in").mkdir()
    pq.write_table(made, tmp_path / "in" / "one.parquet")
    clip = str(save_clip(tmp_path / "clip"))
    found = walk(tmp_path, tmp_path / "in", "sourcing", search_by="images", search_model=clip, per_leaf=999)
    assert len(found["sourcing"]) == 2 * len(files) and streams == {0: 1}


def taken_by_cells(file: Path, rows: int, size: int) -> int:
    """The MB that a process takes more by reading every seventh cell of a table."""
    before = "from spavl.imaging.tables.cells import TableCells; TableCells().large_group(sys.argv[1], 'nothing', 0)"
    got = "cells.get(sys.argv[1], 'image', row)"
    return taken(before, f"cells = TableCells()\nfor row in range(0, {rows}, 7): assert len({got}) == {size}", file)


@pytest.mark.slow
def test_a_single_group_of_any_size_takes_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "one.parquet"
    rows = pa.table({"image": [Random(row).randbytes(60_000) for row in range(3000)]})
    pq.write_table(rows, file, row_group_size=3000, write_batch_size=64, use_dictionary=False)
    assert pq.ParquetFile(file).num_row_groups == 1
    assert taken_by_cells(file, 3000, 60_000) < 60, "of 180 MB"


@pytest.mark.parametrize(("encoding", "wrapped"), [("dictionary", True), ("DELTA_BYTE_ARRAY", False)])
def test_an_image_that_many_rows_share_is_unpacked_once_at_a_time(tmp_path: Path, encoding: str, wrapped: bool) -> None:
    """The file states 3 MB, and means 300."""
    file, size = tmp_path / "bomb.parquet", 3_000_000
    values = pa.array([Random(1).randbytes(size)] * 100)
    column = pa.StructArray.from_arrays([values], ["bytes"]) if wrapped else values
    if encoding == "dictionary":
        pq.write_table(pa.table({"image": column}), file, dictionary_pagesize_limit=2**30)
    else:
        named = {"image.bytes" if wrapped else "image": encoding}
        pq.write_table(pa.table({"image": column}), file, use_dictionary=False, column_encoding=named)
    assert file.stat().st_size < 1.1 * size
    assert taken_by_cells(file, 100, size) < 120, "of 300 MB"


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.slow
def test_what_stands_beside_an_image_is_not_unpacked(tmp_path: Path, kind: str) -> None:
    file, vast = tmp_path / f"bomb.{kind}", pa.array([bytes(10**6)] * 300)
    if kind == "arrow":
        vast = pa.array([0] * 300).cast(pa.int32())
        vast = pa.DictionaryArray.from_arrays(vast, pa.array([bytes(10**6)]))
    beside = pa.ListArray.from_arrays([0, 300], vast)
    table = pa.table({"image": pa.StructArray.from_arrays([pa.array([b"a picture"]), beside], ["bytes", "more"])})
    if kind == "arrow":
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table, file, dictionary_pagesize_limit=2**30)
    assert file.stat().st_size < 2 * 10**6
    assert taken_by_cells(file, 1, len(b"a picture")) < 60, "of 300 MB"
