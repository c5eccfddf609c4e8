"""Files that end whoever reads them: they are named, and the process that asked goes on."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spavl.cli.main import main
from spavl.data.sourcing.readers.entry import RowLimits, SkippedEntry
from spavl.data.sourcing.shards import shards_of
from spavl.engine.isolated_cells import IsolatedCells, sendable_apart
from spavl.engine.isolated_reader import FileOpened, ReaderCrash, rows_apart
from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files import row_files
from spavl.imaging.unfetchable import Unfetchable

COLUMNS = {"question": "q ?", "chosen": "no", "rejected": "yes", "url": "http://example.org/1.png"}
# Of what a file says of itself, so many bytes are changed, each into these: the 20th ends its reader by SIGABRT.
PLACES, CHANGED = 60, (0, 8)

READ = """
import sys
import pyarrow.parquet as pq
from pathlib import Path
for name in sys.argv[1:]:
    print(name, flush=True)
    try:
        with pq.ParquetFile(name) as file:
            groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
            [group.column(number).statistics for group in groups for number in range(group.num_columns)]
            [batch.to_pylist() for batch in file.iter_batches(1)]
    except BaseException:
        pass
"""


def a_table() -> bytes:
    image = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 9, 9)).save(image, "PNG")
    cells = {name: [each] for name, each in COLUMNS.items()} | {"image": [{"bytes": image.getvalue(), "path": "1"}]}
    buffer = io.BytesIO()
    pq.write_table(pa.table(cells), buffer, compression="none")
    return buffer.getvalue()


def deadly_file(folder: Path) -> Path:
    """A Parquet file that ends its reader: this one with one byte changed, the first that does."""
    data, names = a_table(), list[str]()
    # What a file says of itself stands at its end.
    begins = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for place in range(begins, begins + PLACES):
        for value in CHANGED:
            names.append(str(folder / f"{place}-{value}.parquet"))
            Path(names[-1]).write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
    done = subprocess.run([sys.executable, "-c", READ, *names], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGABRT, "no change of a byte ends a reader: this pyarrow is a safer one"
    return Path(done.stdout.split()[-1])


@pytest.fixture(scope="module")
def deadly(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return deadly_file(tmp_path_factory.mktemp("mutated")).read_bytes()


def a_reader(names: list[str], deadly: str) -> Iterator[object]:
    for name in names:
        yield FileOpened(name)
        if name == deadly:
            os.abort()
        yield f"row of {name}"


def test_a_file_that_ends_its_reader_is_named_and_what_came_before_it_is_there() -> None:
    found = rows_apart(a_reader, ["one", "two", "three"], "two")
    assert next(found) == "row of one"
    with pytest.raises(ReaderCrash, match="ends the process that reads it") as caught:
        next(found)
    assert caught.value.where == "two"
    assert list(rows_apart(a_reader, ["one", "two"], "")) == ["row of one", "row of two"]


def fails(_: str) -> Iterator[object]:
    yield 1
    raise ConfigError("what", where="where", then="then")


def test_an_error_of_a_reader_comes_as_it_was_and_the_next_stream_begins_anew() -> None:
    found = rows_apart(fails, "x")
    with pytest.raises(ConfigError, match="what") as caught:
        list(found)
    assert (caught.value.where, caught.value.then) == ("where", "then")
    inner = rows_apart(a_reader, ["one", "two"], "")
    outer = zip(rows_apart(a_reader, ["a", "b"], ""), inner, strict=True)
    assert list(outer) == [("row of a", "row of one"), ("row of b", "row of two")]


def test_a_deadly_table_is_an_error_of_a_benchmark(deadly: bytes, tmp_path: Path) -> None:
    file = tmp_path / "test.parquet"
    file.write_bytes(deadly)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        list(row_files.rows(file))
    assert str(file) in caught.value.where


def test_a_deadly_table_is_left_out_of_candidates(deadly: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(deadly)
    (tmp_path / "b.parquet").write_bytes(a_table())
    found = [row for shard in shards_of(tmp_path) for row in shard.entries(RowLimits(None, None))]
    assert [row.reason for row in found if isinstance(row, SkippedEntry)] == ["broken_table"]
    assert len(found) == 2


def test_a_cell_of_a_deadly_table_cannot_be_read(deadly: bytes, tmp_path: Path) -> None:
    file, whole = tmp_path / "a.parquet", tmp_path / "b.parquet"
    file.write_bytes(deadly)
    whole.write_bytes(a_table())
    cells = IsolatedCells()
    with pytest.raises(Unfetchable):
        cells.get(str(file), "image", 0)
    assert cells.large_group(str(file), "image", 0) is None
    assert cells.get(str(whole), "image", 0).startswith(b"\x89PNG")
    assert sendable_apart(cells.get(str(whole), "image", 0)).startswith(b"\x89PNG")


def test_an_import_of_a_deadly_table_names_it(
    deadly: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train-0.parquet").write_bytes(deadly)
    assert main(["data", "import", str(tmp_path / "set"), "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "train-0.parquet" in told and "Traceback" not in told
