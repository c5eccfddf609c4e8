"""Every reader with every writer: what was written comes out exactly, or an error says what, where and what to do.

A cell is one reader and one writer. The number of cells is checked, so that none is lost unseen. Writers whose library
is not installed, or whose interpreter no environment variable names, are skipped (see `writers_elsewhere`).
"""

from pathlib import Path
from typing import Any

import pytest

from spavl.errors import SpavlError
from tests.foreign_files import writers_elsewhere, writers_engines, writers_tables, writers_trainers
from tests.foreign_files.readers import READERS, Found, Reader, expected, in_order
from tests.foreign_files.rows import Row, full_rows, rows_with_holes
from tests.foreign_files.writers_tables import Writer

WRITERS: dict[str, Writer] = {
    **writers_tables.WRITERS,
    **writers_engines.WRITERS,
    **writers_trainers.WRITERS,
    **writers_elsewhere.WRITERS,
}
# The starts of the names of writers whose files hold what no reader takes, and of those that one reader does not take.
_BY_NONE = (
    "pandas, feather",
    "pandas, csv with escapes",
    "pandas, json of columns",
    "pandas, json split",
    "pandas, json of values",
    "polars, many types",
    # Only the paths of the images are in these, elsewhere on the disk.
    "datasets, names of files",
    "DuckDB, csv with BLOBs",
    *(f"datasets {old}, {layout}" for old in (2, 3) for layout in ("parquet", "cache")),
)
_NOT_UTF_8 = ("pandas, csv of Latin 1", "Excel, CSV of Windows")
_PACKED = ("pandas, csv.gz", "pandas, json lines, gzip")
_NO_TABLE = ("webdataset", "img2dataset")
_NO_QUESTIONS = ("TRL", "LLaMA-Factory", "ms-swift", "LLaVA", "datasets, folder of images")
REFUSED: dict[str, tuple[str, ...]] = {
    "import": (*_BY_NONE, *_NOT_UTF_8, *_PACKED, *_NO_TABLE, "LLaVA"),
    "sourcing": (*_BY_NONE, "webdataset, tar.gz"),
    "benchmark": (*_BY_NONE, *_NOT_UTF_8, *_PACKED, *_NO_TABLE, *_NO_QUESTIONS),
    "overlaps": (*_BY_NONE, *_NOT_UTF_8, *_PACKED, *_NO_TABLE),
}
# Forms of trainers have no captions.
_WITHOUT_CAPTIONS = ("LLaMA-Factory", "ms-swift", "LLaVA")
# These few run in the quick tests, too.
_QUICK = ("datasets, saved to disk", "pandas, csv", "DuckDB, parquet of structs")
# Writers that can write empty cells.
WITH_HOLES = [
    name
    for name in WRITERS
    if not name.startswith((*_BY_NONE, *_PACKED, *_NO_TABLE, *_NO_QUESTIONS, *_NOT_UTF_8))
    and "list" not in name
    and name not in ("pandas, csv of NA", "polars, parquet of arrays", "datasets, names of files")
]


def cells(writers: list[str]) -> list[Any]:
    found = []
    for writer in writers:
        marks = [] if writer in _QUICK else [pytest.mark.slow]
        marks += [pytest.mark.interop] if writer in writers_elsewhere.WRITERS else []
        found += [pytest.param(reader, writer, marks=marks, id=f"{reader}-{writer}") for reader in READERS]
    return found


def read(reader: Reader, writer: str, rows: list[Row], folder: Path) -> list[Found]:
    for name in ("set", "work"):
        (folder / name).mkdir()
    WRITERS[writer](folder / "set", reader.table, rows)
    return reader.read(folder / "set", folder / "work")


@pytest.mark.parametrize(("reader", "writer"), cells(list(WRITERS)))
def test_what_was_written_comes_out(reader: str, writer: str, tmp_path: Path) -> None:
    rows = full_rows()
    if writer.startswith(REFUSED[reader]):
        with pytest.raises(SpavlError) as told:
            read(READERS[reader], writer, rows, tmp_path)
        assert told.value.what and told.value.where and told.value.then
        return
    found = read(READERS[reader], writer, rows, tmp_path)
    code_page = "cp1252" if writer in _NOT_UTF_8 else "utf-8"
    wanted = expected(rows, READERS[reader], code_page, not writer.startswith(_WITHOUT_CAPTIONS))
    assert in_order(found) == in_order(wanted)


@pytest.mark.parametrize(("reader", "writer"), cells(WITH_HOLES))
def test_rows_with_empty_cells_are_left_out_or_told(reader: str, writer: str, tmp_path: Path) -> None:
    """Of seven rows, the second lacks its question, the fourth and last an answer, the fifth a caption, the next one
    an image."""
    rows = rows_with_holes()
    if reader == "benchmark":
        with pytest.raises(SpavlError, match=r"row [01]\D|no image") as told:
            read(READERS[reader], writer, rows, tmp_path)
        assert told.value.then
        return
    whole = {"import": (0, 2, 4), "sourcing": (0, 1, 2, 3, 4, 6), "overlaps": range(7)}[reader]
    found = read(READERS[reader], writer, rows, tmp_path)
    assert in_order(found) == in_order(expected([rows[place] for place in whole], READERS[reader]))


def test_no_cell_is_lost() -> None:
    assert (len(READERS), len(WRITERS), len(WITH_HOLES)) == (4, 116, 69)
    assert len(cells(list(WRITERS))) == 464
