"""Files that a disk, a copy or a hand has damaged: each is one error with place and remedy, and no other rows."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spavl.errors import StoreError
from spavl.records import Reject
from spavl.store import RunFolder
from spavl.store.tables import read_table, write_table

ROWS = [Reject(parent_id=f"row {n}", reason=random.Random(n).choice("abc"), detail="x" * (n % 7)) for n in range(3000)]


def test_a_flipped_bit_in_a_table_is_never_another_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    write_table(file, Reject, ROWS)
    whole, rng = file.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            assert list(read_table(file, Reject)) == ROWS
        except StoreError as error:
            assert error.where == str(file) and "delete it" in error.then
            refused += 1
    assert refused > 150, "the others hit metadata that no reader needs"


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: b"junk" + data])
def test_an_image_whose_bytes_are_not_those_of_its_name_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    with RunFolder(tmp_path / "run") as run:
        digest = run.blobs.put(b"an image")
        assert run.blobs.get(digest) == b"an image"
        run.blobs.path(digest).write_bytes(damage(b"an image"))
        with pytest.raises(StoreError, match="is damaged") as caught:
            run.blobs.get(digest)
    assert caught.value.where.endswith(digest)


@pytest.mark.parametrize("content", [b"", b"junk" * 5000, None], ids=["empty", "junk", "half"])
@pytest.mark.parametrize("look_only", [False, True])
def test_a_damaged_ledger_is_one_error(tmp_path: Path, content: bytes | None, look_only: bool) -> None:
    run = tmp_path / "run"
    with RunFolder(run):
        pass
    ledger = run / "ledger" / "calls.sqlite"
    ledger.write_bytes(ledger.read_bytes()[:3000] if content is None else content)
    if content == b"" and not look_only:
        with RunFolder(run):
            return  # an empty file is a new database
    with pytest.raises(StoreError) as caught, RunFolder(run, look_only=look_only):
        pass
    assert caught.value.where.endswith("calls.sqlite") and caught.value.then


def test_another_seed_does_not_take_a_run_over(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with RunFolder(run, seed=1) as begun:
        begun.write_rows("taxonomy", Reject, [])
        (run / "stages").mkdir()
        (run / "stages" / "taxonomy.json").write_text("{}")
    with pytest.raises(StoreError, match="seed 1, not 2"), RunFolder(run, seed=2):
        pass
    with RunFolder(run, seed=1), pytest.raises(StoreError, match="another process"), RunFolder(run, seed=1):
        pass


@pytest.mark.parametrize("look_only", [False, True])
@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"format": 1, "spavl": "0.0.9"})])
def test_a_folder_of_another_format_is_refused_by_whoever_opens_it(tmp_path: Path, text: str, look_only: bool) -> None:
    run = tmp_path / "run"
    with RunFolder(run):
        pass
    (run / "run.json").write_text(text)
    with pytest.raises(StoreError) as caught, RunFolder(run, look_only=look_only):
        pass
    assert "ledger" in caught.value.then
    shutil.rmtree(run)
