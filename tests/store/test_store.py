"""Storage: whole files or none, rows that come back as they went, calls that outlive a kill, one process a run."""

import asyncio
import contextlib
import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spavl.records
from spavl import __version__
from spavl.errors import InternalError, StoreError
from spavl.records import Record, Reject, content_hash, hash_in_order
from spavl.store import Call, Ledger, Manifest, RunFolder, lookup, tables
from spavl.store.blobs import Blobs
from spavl.store.files import filling, state_of, write_bytes, writing_to
from spavl.store.journal import Journal
from spavl.store.lookup import Lookup
from spavl.store.run import FORMAT
from spavl.store.tables import read_table, write_table

_DEFINED = [each for each in vars(spavl.records).values() if isinstance(each, type)]
KINDS = [each for each in _DEFINED if issubclass(each, Record) and each is not Record]


def of_hint(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that a record's field of this type may hold."""
    if hint is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if hint is int:
        return st.integers(-(2**63), 2**63 - 1)
    if typing.get_origin(hint) is tuple:
        return st.lists(of_hint(typing.get_args(hint)[0]), max_size=4).map(tuple)
    if NoneType in typing.get_args(hint):
        return st.one_of(*(of_hint(part) for part in typing.get_args(hint)))
    return st.from_type(hint)


def records(kind: type[Record]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{name: of_hint(hint) for name, hint in typing.get_type_hints(kind).items()})


def a_call(key: str = "k", **fields: Any) -> Call:
    usual = Call(
        key=key,
        model="openai/m",
        request="{}",
        status="ok",
        text=f"text of {key}",
        detail="",
        tokens_in=10,
        tokens_out=5,
        usd=0.25,
        seconds=0.1,
        at=0.0,
        stage="responses",
    )
    return replace(usual, **fields)


def put_all(ledger: Ledger, *calls: Call) -> None:
    async def put() -> None:
        await asyncio.gather(*(ledger.put(call) for call in calls))

    asyncio.run(put())


@contextlib.contextmanager
def slow_disk(folder: Path) -> Iterator[None]:
    """Nothing can be written to a ledger while this lasts."""
    with contextlib.closing(sqlite3.connect(folder / "calls.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


def disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Files


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_fault_while_writing_leaves_what_was_there_and_no_litter(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "deep" / "file"
    if old is not None:
        write_bytes(path, old)
    with pytest.raises(KeyboardInterrupt), writing_to(path) as temporary:
        temporary.write_bytes(b"half of the new")
        raise KeyboardInterrupt
    assert files_in(tmp_path) == ([] if old is None else ["deep/file"])
    assert old is None or path.read_bytes() == old


def test_a_full_disk_is_told_in_words_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(StoreError, match="disk is full") as told:
        write_bytes(tmp_path / "file", b"new")
    assert told.value.where == str(tmp_path / "file")
    assert "free some space" in told.value.then
    assert files_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


_FILLS = """
import sys
from pathlib import Path
from spavl.store.files import filling
for number in range(1, 10_000):
    with filling(Path(sys.argv[1])) as folder:
        for part in range(8):
            (folder / str(part)).write_text(str(number))
    print(number, flush=True)
"""


def test_a_folder_is_the_old_one_or_the_new_one_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    rng, place = random.Random(4), tmp_path / "aligned"
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", _FILLS, str(place)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        child.kill()
        child.wait()
        kept = place if place.exists() else tmp_path / ".aligned.old"
        assert len({part.read_text() for part in kept.iterdir()}) == 1 and len(list(kept.iterdir())) == 8


@pytest.mark.parametrize("moment", range(12))
def test_a_folder_that_was_aside_when_its_writer_was_killed_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Killed at each of its steps on the disk in turn; what is there then is whole, and so is what comes after."""
    place, done = tmp_path / "aligned", list[str]()
    fill(place, "old")

    def or_killed(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*given: Any, **named: Any) -> Any:
            if len(done) == moment:
                raise KeyboardInterrupt
            done.append(step.__name__)
            return step(*given, **named)

        return stepped

    with monkeypatch.context() as killing:
        for owner, name in ((os, "fsync"), (Path, "rename"), (shutil, "rmtree")):
            killing.setattr(owner, name, or_killed(getattr(owner, name)))
        with contextlib.suppress(KeyboardInterrupt):
            fill(place, "new")
    kept = place if place.exists() else tmp_path / ".aligned.old"
    assert [part.read_text() for part in kept.iterdir()] in (["old"] * 3, ["new"] * 3)
    with pytest.raises(ZeroDivisionError), filling(place):
        assert place.exists(), "what was there has its name again"
        raise ZeroDivisionError
    fill(place, "newer")
    assert files_in(tmp_path) == ["aligned/0", "aligned/1", "aligned/2"]


def fill(place: Path, text: str) -> None:
    with filling(place) as folder:
        for part in range(3):
            (folder / str(part)).write_text(text)


@given(st.binary(max_size=200))
@settings(max_examples=20)
def test_an_image_comes_back_by_its_hash_and_is_stored_once(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        blobs = Blobs(Path(folder))
        digest = blobs.put(data)
        assert blobs.put(data) == digest
        assert blobs.get(digest) == data
        assert len(files_in(Path(folder))) == 1


def test_a_missing_image_is_named_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="image aaaaaaaaaaaa is missing") as told:
        Blobs(tmp_path).get("a" * 64)
    assert told.value.where.endswith("a" * 64)
    assert told.value.then


# Tables


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=15)
def test_records_of_every_kind_come_back_from_parquet_as_they_went(kind: type[Record], data: st.DataObject) -> None:
    rows = data.draw(st.lists(records(kind), max_size=5))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        assert write_table(path, kind, rows) == len(rows)
        back = list(read_table(path, kind))
        assert back == rows
        assert [row.id for row in back] == [row.id for row in rows]
        assert pq.read_table(path).column("id").to_pylist() == [row.id for row in rows]


def test_rows_past_one_row_group_keep_their_order(tmp_path: Path) -> None:
    rows = [Reject(parent_id=str(n), reason="r", detail="") for n in range(10_000)]
    write_table(tmp_path / "rows.parquet", Reject, iter(rows))
    assert list(read_table(tmp_path / "rows.parquet", Reject)) == rows


@pytest.mark.parametrize(("content", "message"), [(None, "no table of Reject rows"), (b"junk", "the table is damaged")])
def test_a_missing_or_broken_table_says_what_to_do(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "rows.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=message) as told:
        list(read_table(path, Reject))
    assert told.value.where == str(path)
    assert told.value.then


def test_a_table_cut_short_by_a_fault_is_not_there_at_all(tmp_path: Path) -> None:
    def rows() -> Any:
        yield Reject(parent_id="1", reason="r", detail="")
        raise RuntimeError("the stage fell over")

    with pytest.raises(RuntimeError):
        write_table(tmp_path / "rows.parquet", Reject, rows())
    assert files_in(tmp_path) == []


@given(st.lists(st.text()))
def test_a_long_list_has_the_same_hash_however_it_is_given(ids: list[str]) -> None:
    assert hash_in_order(iter(ids)) == content_hash(ids)


# Lookups


@given(groups=st.lists(st.integers(1, 5), max_size=12), order=st.randoms(), per_group=st.integers(1, 7))
@settings(max_examples=40)
def test_a_lookup_is_a_dict_of_the_table_by_any_column(groups: list[int], order: random.Random, per_group: int) -> None:
    """Whatever the size of the row groups, however few are held, and in whatever order rows are asked for."""
    rows = [Reject(parent_id=str(k), reason="r", detail=str(n)) for k, size in enumerate(groups) for n in range(size)]
    order.shuffle(rows)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_ROWS_PER_GROUP", per_group)
        path = Path(folder) / "rows.parquet"
        write_table(path, Reject, rows)
        by_id, by_parent = Lookup(path, Reject, groups_held=2), Lookup(path, Reject, by="parent_id", groups_held=2)
        assert len(by_id) == len(by_parent) == len(rows)
        for row in order.sample(rows, len(rows)):
            assert by_id[row.id] == by_id.get(row.id) == row
            assert by_parent.all(row.parent_id) == [each for each in rows if each.parent_id == row.parent_id]
            assert row.id in by_id and row.parent_id not in by_id
        assert by_parent.get("nobody") is None
        with pytest.raises(InternalError, match="no Reject has parent_id nobody"):
            by_parent["nobody"]


def test_two_values_of_one_hash_are_told_apart_and_rows_of_no_value_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "hash", lambda _: 1, raising=False)
    rows = [Noted(number=n, note=note) for n, note in enumerate(("a", None, "b", "a"))]
    write_table(tmp_path / "rows.parquet", Noted, rows)
    found = Lookup(tmp_path / "rows.parquet", Noted, by="note")
    assert [found.all(key) for key in "abc"] == [[rows[0], rows[3]], [rows[2]], []]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Record):
    number: int
    note: str | None


# The journal


def done(journal: Journal) -> set[int]:
    return set(range(10)) - {position for position, _ in journal.undone(range(10))}


@given(order=st.permutations(range(8)), kill_after=st.integers(0, 8))
@settings(max_examples=25)
def test_rows_come_in_input_order_whatever_was_finished_first_and_wherever_it_stopped(
    order: list[int], kill_after: int
) -> None:
    def rows_of(position: int) -> list[Reject]:
        return [Reject(parent_id=str(position), reason="row", detail=str(n)) for n in range(position % 3)]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stage.journal.sqlite"
        for part in (order[:kill_after], order[kill_after:]):
            journal = Journal(path, "print")
            for position in part:
                journal.add(position, f"key {position}", rows_of(position), rows_of(position)[:1])
            assert done(journal) >= set(part)
            journal.close()
        journal = Journal(path, "print")
        assert done(journal) == set(order)
        assert journal.count() == len(order)
        assert list(journal.rows(Reject)) == [row for position in range(8) for row in rows_of(position)]
        assert list(journal.rejects()) == [row for position in range(8) for row in rows_of(position)[:1]]
        journal.delete()
        assert files_in(Path(folder)) == []


def test_a_journal_of_another_fingerprint_starts_empty(tmp_path: Path) -> None:
    for fingerprint, left in (("one", 0), ("one", 1), ("two", 0), ("one", 0)):
        journal = Journal(tmp_path / "journal", fingerprint)
        assert journal.count() == left
        journal.add(0, "key", [], [Reject(parent_id="p", reason="r", detail="")])
        journal.close()


def test_a_journal_on_a_full_disk_says_so_and_keeps_what_it_had(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "print")
    journal.add(0, "key", [], [])
    journal._database.execute("PRAGMA max_page_count=1")
    row = Reject(parent_id="p", reason="r", detail="x" * 20_000)
    with pytest.raises(StoreError, match="disk is full"):
        journal.add(1, "key", [row], [])
    assert done(journal) == {0}
    journal.close()


# The ledger

_WRITER = """
import asyncio, sys
from pathlib import Path
from spavl.store import Call, Ledger

async def put(ledger, n):
    await ledger.put(Call(key=str(n), model="m", request="{}", status="ok", text="t", detail="",
                          tokens_in=1, tokens_out=1, usd=0.0, seconds=0.0, at=0.0, stage="s"))
    print(n, flush=True)

async def main(ledger, first):
    for start in range(first, first + 10**6, 16):
        await asyncio.gather(*(put(ledger, n) for n in range(start, start + 16)))

asyncio.run(main(Ledger(Path(sys.argv[1])), int(sys.argv[2])))
"""


def test_no_call_that_counted_as_done_is_lost_to_kill_9(tmp_path: Path) -> None:
    rng, printed = random.Random(5), list[str]()
    for first in (0, 10**7, 2 * 10**7):
        command = [sys.executable, "-c", _WRITER, str(tmp_path), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(rng.randrange(1, 300))]
            process.kill()
            lines += process.stdout.readlines()
        assert len(lines) > 0
        printed += [line.strip() for line in lines if line.endswith("\n")]
    ledger = Ledger(tmp_path)
    kept = {call.key for call in ledger.calls()}
    ledger.close()
    assert set(printed) <= kept


def test_a_call_comes_back_as_it_was_put(tmp_path: Path) -> None:
    calls = [a_call("a"), a_call("b", status="refused", text="", usd=0.0), a_call("c", status="rejected", detail="no")]
    ledger = Ledger(tmp_path)
    put_all(ledger, *calls)
    ledger.close()
    again = Ledger(tmp_path)
    assert list(again.calls()) == calls
    assert [again.get(call.key) for call in calls] == calls
    assert again.get("never asked") is None
    again.close()


def test_a_call_made_again_is_counted_and_the_first_answer_stays(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    put_all(ledger, a_call("a", text="first"), a_call("b", stage="verdicts", usd=1.0))
    put_all(ledger, a_call("a", text="second"))
    found = ledger.get("a")
    assert found is not None and found.text == "first"
    assert ledger.totals() == {"calls": 2, "usd": 1.25, "tokens_in": 20, "tokens_out": 10, "made_again": 1}
    assert ledger.totals("verdicts") == {"calls": 1, "usd": 1.0, "tokens_in": 10, "tokens_out": 5, "made_again": 0}
    ledger.close()


def _worker_file(folder: Path, *calls: Call) -> None:
    """What a worker elsewhere leaves: a ledger's file under a name of its own."""
    elsewhere = folder / "elsewhere"
    ledger = Ledger(elsewhere)
    put_all(ledger, *calls)
    ledger.close()
    (elsewhere / "calls.sqlite").rename(folder / f"worker-{len(files_in(folder))}.sqlite")


def test_the_calls_of_workers_are_taken_in_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    put_all(ledger, a_call("a", text="own"))
    ledger.close()
    _worker_file(tmp_path, a_call("a", text="worker's"), a_call("b"))
    _worker_file(tmp_path, a_call("c"))
    for _ in range(2):
        ledger = Ledger(tmp_path)
        assert [(call.key, call.text) for call in ledger.calls()] == [
            ("a", "own"),
            ("b", "text of b"),
            ("c", "text of c"),
        ]
        ledger.close()
        assert files_in(tmp_path) == ["calls.sqlite"]


def test_a_worker_killed_before_its_first_call_does_not_stop_the_run(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "worker-1.sqlite").close()
    (tmp_path / "worker-2.sqlite").touch()
    ledger = Ledger(tmp_path)
    assert list(ledger.calls()) == []
    ledger.close()


def test_a_sealed_stage_can_be_read_without_spavl(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    put_all(ledger, a_call("a"), a_call("b"), a_call("c", stage="verdicts"))
    ledger.seal("responses")
    ledger.seal("nothing yet")
    asyncio.run(ledger.give_up(ledger.calls("verdicts")))
    (tmp_path / "verdicts.parquet").write_bytes(b"as it was sealed before")
    ledger.seal("verdicts")
    ledger.close()
    assert pq.read_table(tmp_path / "responses.parquet").to_pylist() == [asdict(a_call("a")), asdict(a_call("b"))]
    assert files_in(tmp_path) == ["calls.sqlite", "responses.parquet"]


def test_a_caller_that_left_does_not_stop_the_writer(tmp_path: Path) -> None:
    """Ctrl-C ends the event loop while calls wait to be written; they are paid, so they are written all the same."""
    ledger = Ledger(tmp_path)

    async def leave_at_once() -> None:
        for n in range(300):
            asyncio.ensure_future(ledger.put(a_call(f"left {n}")))  # noqa: RUF006
        await asyncio.sleep(0)

    with slow_disk(tmp_path):
        asyncio.run(leave_at_once())
    put_all(ledger, a_call("after"))
    assert len(list(ledger.calls())) == 301
    ledger.close()


def test_a_closed_ledger_refuses_calls_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.close()

    async def put() -> None:
        await asyncio.wait_for(ledger.put(a_call()), 1)

    with pytest.raises(InternalError, match="closed"):
        asyncio.run(put())


def test_a_ledger_on_a_full_disk_says_so_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    put_all(ledger, a_call("a"))
    ledger._database.execute("PRAGMA max_page_count=1")
    with pytest.raises(StoreError, match="disk is full") as told:
        put_all(ledger, a_call("b", text="x" * 20_000))
    assert "type the same command" in told.value.then
    ledger._database.execute("PRAGMA max_page_count=100000")
    put_all(ledger, a_call("c"))
    assert [call.key for call in ledger.calls()] == ["a", "c"]
    ledger.close()


def test_one_call_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)

    async def put() -> list[BaseException | None]:
        calls = [a_call("a"), a_call("no text", text="\ud83d"), a_call("b")]
        with slow_disk(tmp_path):  # all three wait together
            waiting = [asyncio.ensure_future(ledger.put(call)) for call in calls]
            await asyncio.sleep(0.01)
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(found) for found in asyncio.run(put())] == [type(None), UnicodeEncodeError, type(None)]
    assert [call.key for call in ledger.calls()] == ["a", "b"]
    ledger.close()


# Run folders


def test_a_run_folder_keeps_what_it_was_given(tmp_path: Path) -> None:
    manifest = Manifest("stage", "print", "content", 1, {"why": 2}, 0.5, {"note": [1]})
    row = Reject(parent_id="p", reason="r", detail="")
    with RunFolder(tmp_path, seed=7) as run:
        assert run.manifest("stage") is None
        run.write_manifest(manifest)
        run.write_rows("stage", Reject, [row])
    with RunFolder(tmp_path) as run:
        assert run.manifest("stage") == manifest
        assert list(run.read("stage", Reject)) == [row]
        run.forget("stage")
        assert run.manifest("stage") is None
    about = json.loads((tmp_path / "run.json").read_text())
    assert (about["format"], about["spavl"], about["seed"]) == (FORMAT, __version__, 7)


def test_a_second_process_is_kept_out_until_the_first_ends(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from spavl.store import RunFolder; RunFolder(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with RunFolder(tmp_path):
        kept_out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert kept_out.returncode != 0
    assert "another process is at work in this run" in kept_out.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_a_newer_run_is_refused_with_both_versions_and_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": FORMAT + 1, "spavl": "99.1.2"}))
    with pytest.raises(StoreError) as told:
        RunFolder(tmp_path)
    assert "99.1.2" in told.value.what and __version__ in told.value.what
    assert told.value.where == str(tmp_path / "run.json")
    assert "upgrade" in told.value.then


def test_an_older_run_is_refused_once_and_its_ledger_answers_in_a_new_folder(tmp_path: Path) -> None:
    """The stages and settings of format 1 had other names; calls are named by what was asked."""
    old, new = tmp_path / "old", tmp_path / "new"
    with RunFolder(old, seed=7) as run:
        asyncio.run(run.ledger.put(a_call()))
    (old / "run.json").write_text(json.dumps({"format": 1, "spavl": "0.0.9", "seed": 7}))
    with pytest.raises(StoreError) as told:
        RunFolder(old)
    assert "0.0.9" in told.value.what and str(old / "ledger") in told.value.then
    shutil.copytree(old / "ledger", new / "ledger")
    with RunFolder(new, seed=7) as run:
        assert run.ledger.get("k") == a_call()


@pytest.mark.parametrize("junk", ["", "[]", "3", "{}", '{"format": null, "spavl": "1"}', "\xff\xfe", "{"])
def test_a_folder_of_something_else_is_refused_and_let_go(tmp_path: Path, junk: str) -> None:
    (tmp_path / "run.json").write_bytes(junk.encode("latin-1"))
    with pytest.raises(StoreError, match="not a run file of spavl") as told:
        RunFolder(tmp_path)
    assert told.value.then
    assert (tmp_path / "run.json").read_bytes() == junk.encode("latin-1")
    # Refused is not held: once the file is put right, the same process may open it.
    (tmp_path / "run.json").unlink()
    with RunFolder(tmp_path):
        pass


@pytest.mark.parametrize("name", ["ledger/calls.sqlite", "stages/s.journal.sqlite"])
def test_a_damaged_database_is_named_with_the_next_step(tmp_path: Path, name: str) -> None:
    with RunFolder(tmp_path):
        pass
    write_bytes(tmp_path / name, b"this is no database " * 400)
    with pytest.raises(StoreError, match="cannot open a file of the run") as told, RunFolder(tmp_path) as run:
        run.journal("s", "print")
    assert told.value.where == str(tmp_path / name)
    assert told.value.then


def test_a_disk_too_full_to_open_a_database_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(StoreError, match="disk is full") as told:
        Ledger(tmp_path)
    assert "delete" not in told.value.then


def test_a_damaged_manifest_is_named_with_the_next_step(run: RunFolder) -> None:
    write_bytes(run.path / "stages" / "s.json", b"{}")
    with pytest.raises(StoreError, match="not a manifest") as told:
        run.manifest("s")
    assert "delete this file" in told.value.then


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.write_config("seed = 1"),
        lambda run: run.write_manifest(Manifest("s", "f", "c", 0, {}, 0.0)),
        lambda run: run.write_rows("s", Reject, [Reject(parent_id="p", reason="r", detail="")]),
        lambda run: run.blobs.put(b"picture"),
    ],
    ids=["config", "manifest", "rows", "blob"],
)
def test_a_run_on_a_full_disk_says_so_and_leaves_nothing_half_written(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, write: Callable[[RunFolder], object]
) -> None:
    before = files_in(run.path)
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(StoreError, match="disk is full") as told:
        write(run)
    assert told.value.then
    assert files_in(run.path) == before


def test_a_run_that_could_not_begin_can_begin_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", disk_full)
        with pytest.raises(StoreError, match="disk is full"):
            RunFolder(tmp_path / "run")
    with RunFolder(tmp_path / "run") as run:
        assert run.ledger.totals()["calls"] == 0


# --- the state of what lies on disk


def test_the_state_of_a_file_tells_its_content_and_that_of_a_folder_its_files(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file"
    seen = [state_of(file), state_of(file.parent)]
    file.parent.mkdir()
    for text in ("one", "two", "three"):
        file.write_text(text)
        os.utime(file, ns=(0, len(seen)))
        seen += [state_of(file), state_of(file.parent)]
    assert [len(state) for state in seen] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert len({str(state) for state in seen}) == 7
    file.write_text("one")
    assert state_of(file) == seen[2]
