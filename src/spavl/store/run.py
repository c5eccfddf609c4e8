"""A run folder: everything that one run produced, and what is needed to run it again.

runs/demo/
  run.json              format, versions, seed
  config.toml           every setting, including those with default values
  ledger/               calls.sqlite: every finished call; one Parquet file per finished stage
  blobs/ab/abcd…        images by the SHA-256 of their bytes
  tables/*.parquet      the rows of each finished stage, and its rejects
  stages/*.json         the manifest of each finished stage; the journal of an unfinished one
  dataset/ checkpoints/ report.html summary.json
"""

import contextlib
import errno
import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, TypeVar

from spavl import __version__
from spavl.errors import RunInUse, StoreError
from spavl.records import Record, Reject, hash_in_order
from spavl.store.blobs import Blobs
from spavl.store.files import RUN_FILE, disk_faults, make_folder, refuse_filled, state_of, write_text
from spavl.store.journal import Journal
from spavl.store.ledger import Ledger
from spavl.store.lookup import GROUPS_HELD, Lookup
from spavl.store.mounts import is_log_safe
from spavl.store.tables import ids_in, open_table, read_table, write_table

R = TypeVar("R", bound=Record)

# 2: stages were renamed to sourcing, downloads, selection, captions, and settings were renamed too.
FORMAT = 2
_LOCK, _LEDGER = ".lock", "ledger"
# The errors of a file system that is mounted without locks.
_LOCKLESS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_PACKAGES = ("torch", "transformers", "pyarrow", "pillow", "aiohttp", "pydantic")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The record of a finished stage. `content` is the hash of its rows' ids, in order.

    `origin` is the source of rows that were imported: such a stage always counts as finished.
    """

    stage: str
    fingerprint: str
    content: str
    rows: int
    rejects: dict[str, int]
    seconds: float
    notes: dict[str, object] = field(default_factory=dict)
    origin: str | None = None


def manifests_in(path: Path) -> Iterator[Manifest]:
    """The manifests of a run folder, which is not opened: a look at its ledger may leave files beside it."""
    yield from map(_read_manifest, sorted((path / "stages").glob("[!.]*.json")))


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        then = "delete this file; the stage is then done again from the calls in the ledger"
        raise StoreError(f"not a manifest: {error}", where=str(path), then=then) from error


def _check_place(path: Path) -> None:
    """Raise if a folder has other files and is not a run folder."""
    if not (path / RUN_FILE).exists():
        # A run that was killed while it started has only these files.
        # The user may have copied the ledger of another run, so that its calls are not made again.
        refuse_filled(path, but_for=(_LOCK, f".{RUN_FILE}.", _LEDGER))


class RunFolder:
    """One run on disk, locked by one process at a time. Use it as a context manager.

    With `look_only`, the folder may be missing, and nothing is locked or written.
    """

    def __init__(self, path: Path, seed: int | None = None, look_only: bool = False) -> None:
        self.path = path
        _check_place(path)
        self._held = contextlib.ExitStack()
        self._states: dict[Path, list[object]] = {}
        with contextlib.ExitStack() as held:
            if not look_only:
                is_log_safe(path)
                make_folder(path)
                held.enter_context(self._take_lock())
                self._check_or_begin(seed)
            elif (path / RUN_FILE).exists():
                self._check_format()
            self.blobs = Blobs(path / "blobs")
            self.ledger = Ledger(path / _LEDGER, look_only)
            held.callback(self.ledger.close)
            self._held = held.pop_all()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def versions(self) -> dict[str, str]:
        """The package versions that the run was started with."""
        about = json.loads((self.path / RUN_FILE).read_text())
        return {"spavl": about["spavl"], **about["versions"]}

    def state_of(self, path: Path) -> list[object]:
        """The state of a file or folder. That of a folder outside the run is computed once and cached.

        If the folder changes later, the next start of the run sees its new state and repeats the stages that read it.
        """
        if not path.is_dir() or path.resolve().is_relative_to(self.path.resolve()):
            return state_of(path)
        if path not in self._states:
            self._states[path] = state_of(path)
        return self._states[path]

    def write_config(self, text: str) -> None:
        write_text(self.path / "config.toml", text)

    def journal(self, stage: str, fingerprint: str) -> Journal:
        return Journal(self.path / "stages" / f"{stage}.journal.sqlite", fingerprint)

    def manifest(self, stage: str) -> Manifest | None:
        path = self._manifest_path(stage)
        return _read_manifest(path) if path.exists() else None

    def stages_begun(self) -> list[str]:
        """The stages with files in `stages/`: those that are finished, and those with a journal or training states."""
        left = (path for path in (self.path / "stages").glob("[!.]*"))
        return sorted({path.name.partition(".")[0].partition("-")[0] for path in left})

    def finished_at(self, stage: str) -> float:
        """The time at which a finished stage was finished, in seconds since the epoch."""
        return self._manifest_path(stage).stat().st_mtime

    def write_manifest(self, manifest: Manifest) -> None:
        write_text(self._manifest_path(manifest.stage), json.dumps(asdict(manifest), indent=2) + "\n")

    def forget(self, stage: str) -> None:
        """Mark a stage as unfinished, before its tables are written again."""
        self._manifest_path(stage).unlink(missing_ok=True)

    def checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / name

    def states(self, stage: str, fingerprint: str) -> Path:
        """The folder for the states of an unfinished training. States of other settings are not resumed."""
        return self.path / "stages" / f"{stage}-{fingerprint[:16]}.states"

    def clear_states(self, stage: str) -> None:
        for folder in (self.path / "stages").glob(f"{stage}-*.states"):
            shutil.rmtree(folder)

    def write_rows(self, stage: str, kind: type[R], rows: Iterable[R]) -> int:
        return write_table(self._table_path(stage, kind), kind, rows)

    def copy_calls(self, other: Path) -> None:
        """Take over the finished calls of another run, at no cost, so that they are not made again."""
        self.ledger.copy_calls(other / _LEDGER)

    def read(self, stage: str, kind: type[R]) -> Iterator[R]:
        return read_table(self._table_path(stage, kind), kind)

    def lookup(self, stage: str, kind: type[R], by: str = "id", readers: int = 1) -> Lookup[R]:
        """A stage's rows by their id or another column. Unlike a dict, it uses little memory for millions of rows.

        `readers` is the number of concurrent readers; each needs a cached row group.
        """
        return Lookup(self._table_path(stage, kind), kind, by, GROUPS_HELD + readers - 1)

    def has_table(self, stage: str, kind: type[Record]) -> bool:
        return self._table_path(stage, kind).exists()

    def count(self, stage: str, kind: type[Record]) -> int:
        with open_table(self._table_path(stage, kind), kind) as table:
            return int(table.metadata.num_rows)

    def content(self, stage: str, kind: type[Record]) -> str:
        """The hash of the ids of a stage's rows. If it changes, later stages are repeated."""
        return hash_in_order(ids_in(self._table_path(stage, kind), kind))

    def _table_path(self, stage: str, kind: type[Record]) -> Path:
        return self.path / "tables" / (f"{stage}.rejects.parquet" if kind is Reject else f"{stage}.parquet")

    def _manifest_path(self, stage: str) -> Path:
        return self.path / "stages" / f"{stage}.json"

    def _take_lock(self) -> IO[str]:
        with disk_faults(self.path):
            # Do not follow a link, and do not truncate the file.
            lock = os.fdopen(os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            then = "wait for it to end, or choose another folder with --out"
            raise RunInUse("another process is at work in this run", where=str(self.path), then=then) from None
        except OSError as error:
            lock.close()
            if error.errno not in _LOCKLESS:
                raise
            then = (
                "choose a folder on another file system with --out, or have this one mounted with locks (Lustre: flock)"
            )
            raise StoreError(f"this file system has no locks: {error}", where=str(self.path), then=then) from None
        return lock

    def _check_or_begin(self, seed: int | None) -> None:
        path = self.path / RUN_FILE
        if not path.exists():
            about = {"format": FORMAT, "spavl": __version__, "seed": seed, "versions": _versions()}
            write_text(path, json.dumps(about, indent=2) + "\n")
            return
        about = self._check_format()
        if seed is None or about.get("seed") == seed:
            return
        if about.get("seed") is None or not self.stages_begun():
            # A data set was imported, which needs no seed, or nothing was made yet.
            write_text(path, json.dumps(about | {"seed": seed}, indent=2) + "\n")
        else:
            what = f"this run was made with seed {about['seed']}, not {seed}: all its rows would be made again"
            raise StoreError(what, where=str(self.path), then=self._how_to_keep())

    def _check_format(self) -> dict[str, Any]:
        """The content of the run file. Raises if another version of spavl made it, or nothing that can be read."""
        path = self.path / RUN_FILE
        try:
            about = json.loads(path.read_text())
            found, made_by = int(about["format"]), about["spavl"]
        except (ValueError, KeyError, TypeError) as error:
            what = f"not a run file of spavl ({str(error)[:80]})"
            raise StoreError(what, where=str(path), then=f"restore this file, or {self._how_to_keep()}") from None
        if found > FORMAT:
            what = f"this run was made by spavl {made_by}, whose folders this version ({__version__}) cannot read"
            raise StoreError(what, where=str(path), then=f"pip install --upgrade spavl, or {self._how_to_keep()}")
        if found < FORMAT:
            what = (
                f"this run was made by spavl {made_by} in format {found}; this version ({__version__}) reads {FORMAT}"
            )
            raise StoreError(what, where=str(path), then=self._how_to_keep())
        return dict(about)

    def _how_to_keep(self) -> str:
        copied = f"copy {self.path / _LEDGER} into it first, and none of its model calls is made again"
        return f"choose another folder with --out; {copied}"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
