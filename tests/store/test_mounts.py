"""Where databases lie: a write-ahead log on disks of this machine alone, no database on a mount of an object store."""

import asyncio
import errno
import fcntl
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from spavl.errors import StoreError
from spavl.store import RunFolder, mounts
from spavl.store.ledger import Call, Ledger
from spavl.store.mounts import mount_of
from spavl.store.outbox import Outbox
from spavl.store.sqlite import connect

# A kernel's own lines, with other places put into them.
_LINES = (
    "22 27 0:21 / /proc rw,relatime - proc proc rw",
    "27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard",
)


@pytest.fixture
def lies_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Mounter":
    return Mounter(tmp_path / "mountinfo", monkeypatch)


class Mounter:
    """Says that a folder is a mount of some kind; nothing is mounted."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file, self._lines = file, [*_LINES]
        monkeypatch.setattr(mounts, "MOUNTS", file)

    def __call__(self, place: Path, kind: str, source: str = "server:/export") -> None:
        spelled = str(place.resolve()).replace(" ", r"\040")
        self._lines.append(f"90 27 0:50 / {spelled} rw,relatime - {kind} {source} rw,vers=4.2,local_lock=none")
        self._file.write_text("\n".join(self._lines) + "\n")


def a_call(key: str) -> Call:
    return Call(
        key=key,
        model="openai/m",
        request="{}",
        status="ok",
        text="an answer",
        detail="",
        tokens_in=1,
        tokens_out=1,
        usd=0.0,
        seconds=0.0,
        at=0.0,
        stage="s",
    )


@pytest.mark.parametrize(
    ("kind", "source", "safe"),
    [
        ("ext4", "/dev/sda1", "wal"),
        ("tmpfs", "tmpfs", "wal"),
        ("overlay", "overlay", "wal"),
        ("fuseblk", "/dev/sdb1", "wal"),
        ("nfs", "server:/export", "rollback"),
        ("nfs4", "server:/export", "rollback"),
        ("cifs", "//server/share", "rollback"),
        ("smb3", "//server/share", "rollback"),
        ("lustre", "10.0.0.1@tcp:/work", "rollback"),
        ("gpfs", "gpfs0", "rollback"),
        ("fuse.sshfs", "someone@host:", "rollback"),
        ("fuse.glusterfs", "server:/volume", "rollback"),
        ("fuse.s3fs", "s3fs", "none"),
        ("fuse", "mountpoint-s3", "none"),
        ("fuse.gcsfuse", "bucket", "none"),
        ("fuse.rclone", "remote:bucket", "none"),
    ],
)
def test_what_is_safe_hangs_on_the_file_system(
    tmp_path: Path, lies_on: Mounter, kind: str, source: str, safe: str
) -> None:
    place = tmp_path / "a place"
    lies_on(place, kind, source)
    found = mount_of(place / "not made yet" / "calls.sqlite")
    assert found is not None and (found.place, found.kind, found.safe) == (place.resolve(), kind, safe)
    beside = mount_of(tmp_path / "a place beside")
    assert beside is not None and beside.kind == "ext4"


def test_of_two_mounts_at_one_place_the_later_counts_and_the_nearest_goes_first(
    tmp_path: Path, lies_on: Mounter
) -> None:
    lies_on(tmp_path, "autofs")
    lies_on(tmp_path / "local", "xfs")
    lies_on(tmp_path, "nfs4")
    kinds = [mount.kind for name in ("x", "local/x") if (mount := mount_of(tmp_path / name))]
    assert kinds == ["nfs4", "xfs"]


def test_a_link_to_a_network_file_system_lies_on_it(tmp_path: Path, lies_on: Mounter) -> None:
    lies_on(tmp_path / "far", "nfs4")
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    found = mount_of(tmp_path / "near" / "x")
    assert found is not None and found.kind == "nfs4"


def test_where_no_mounts_are_told_every_place_is_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert mount_of(tmp_path) is None
    connect(tmp_path / "x.sqlite").close()


def test_on_a_network_file_system_a_run_has_no_write_ahead_log(tmp_path: Path, lies_on: Mounter) -> None:
    """One that has a log from elsewhere gives it up; what it holds stays."""
    path = tmp_path / "run"
    with RunFolder(path) as run:
        asyncio.run(run.ledger.put(a_call("before")))
    lies_on(path, "nfs4")
    with RunFolder(path) as run:
        asyncio.run(run.ledger.put(a_call("after")))
        journal = run.journal("stage", "f")
        assert not list(path.rglob("*-wal")) and not list(path.rglob("*-shm"))
        with RunFolder(path, look_only=True) as looked:
            assert [call.key for call in looked.ledger.calls()] == ["after", "before"]
        asyncio.run(run.ledger.put(a_call("while it was looked at")))
        journal.delete()
    assert not list(path.rglob("*-journal"))
    read = sqlite3.connect(path / "ledger" / "calls.sqlite")
    assert read.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert read.execute("SELECT COUNT(*) FROM calls").fetchone() == (3,)
    read.close()


def test_on_a_disk_of_this_machine_it_keeps_its_log(tmp_path: Path, lies_on: Mounter) -> None:
    lies_on(tmp_path, "xfs")
    with RunFolder(tmp_path / "run"):
        assert list((tmp_path / "run").rglob("*-wal"))


def test_every_write_there_is_synced(tmp_path: Path, lies_on: Mounter) -> None:
    """A journal that is not synced each time can be torn by a power cut."""
    lies_on(tmp_path, "lustre")
    outbox = Outbox(tmp_path / "outbox.sqlite")
    batch = outbox.begin("openai/m", "file-1")
    outbox.name(batch, "batch-1")
    assert outbox._database.execute("PRAGMA synchronous").fetchone() == (2,)
    outbox.close()


_WRITES = """
import asyncio, sys
from pathlib import Path
from spavl.store import mounts
from spavl.store.ledger import Ledger
from tests.store.test_mounts import a_call

mounts.MOUNTS = Path(sys.argv[2])
async def write():
    ledger = Ledger(Path(sys.argv[1]))
    for number in range(10_000):
        await ledger.put(a_call(f"{number:05}"))
        print(number, flush=True)
asyncio.run(write())
"""


@pytest.mark.slow
def test_a_kill_there_loses_no_call_and_whoever_looks_meanwhile_sees_whole_ones(
    tmp_path: Path, lies_on: Mounter
) -> None:
    lies_on(tmp_path / "ledger", "nfs4")
    command = [sys.executable, "-c", _WRITES, str(tmp_path / "ledger"), str(tmp_path / "mountinfo")]
    for _ in range(3):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(20):
            told = child.stdout.readline()
            looked = Ledger(tmp_path / "ledger", look_only=True)
            assert len(list(looked.calls())) > int(told)
            looked.close()
        child.kill()
        rest = child.stdout.read().split()
        child.wait()
        last = int(rest[-1] if rest else told)
        ledger = Ledger(tmp_path / "ledger")
        assert ledger.get(f"{last:05}") is not None
        ledger.close()


@pytest.mark.parametrize(("kind", "source"), [("fuse.s3fs", "s3fs"), ("fuse", "mountpoint-s3")])
def test_a_run_on_an_object_store_is_refused(tmp_path: Path, lies_on: Mounter, kind: str, source: str) -> None:
    lies_on(tmp_path / "run", kind, source)
    with pytest.raises(StoreError, match="object store") as told:
        RunFolder(tmp_path / "run")
    assert "--out" in told.value.then
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_copied_to_an_object_store_can_be_looked_at(tmp_path: Path, lies_on: Mounter) -> None:
    with RunFolder(tmp_path / "run") as run:
        asyncio.run(run.ledger.put(a_call("one")))
    lies_on(tmp_path / "run", "fuse.s3fs", "s3fs")
    with RunFolder(tmp_path / "run", look_only=True) as run:
        assert [call.key for call in run.ledger.calls()] == ["one"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Lustre says so unless it is mounted with `flock`, and NFS where nobody serves locks."""

    def lockless(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", lockless)
    with pytest.raises(StoreError, match="no locks") as told:
        RunFolder(tmp_path / "run")
    assert "flock" in told.value.then
