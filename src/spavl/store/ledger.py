"""The ledger: every finished model call, written before the call counts as done, so that none is paid twice.

One process writes `calls.sqlite`. Workers elsewhere write their own files in the same folder,
which are merged at the next start. A call's key is the hash of the model and the request only:
how the answer is parsed later does not change it.
"""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Literal, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.errors import InternalError, StoreError
from spavl.store.files import disk_faults, writing_to
from spavl.store.sqlite import connect, connect_to_look

_COLUMNS = """
    key TEXT PRIMARY KEY, model TEXT, request TEXT, status TEXT, text TEXT, detail TEXT,
    tokens_in INTEGER, tokens_out INTEGER, usd REAL, seconds REAL, at REAL, stage TEXT,
    times INTEGER DEFAULT 1
"""
# Columns that ledgers of earlier versions do not have.
_ADDED = {"reasoning": "TEXT DEFAULT ''", "reasoning_tokens": "INTEGER DEFAULT 0"}
_BATCH = 256
_FILE = "calls.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A finished call. `refused` and `rejected` (a permanent 4xx) are answers too, and are kept.

    `detail` is the reason of a rejection; for an answer, the parameters left out because the server rejects them.
    `reasoning` is the thoughts before the answer, `reasoning_tokens` their part of `tokens_out`.
    """

    key: str
    model: str
    request: str
    status: Literal["ok", "length", "refused", "rejected"]
    text: str
    detail: str
    tokens_in: int
    tokens_out: int
    usd: float
    seconds: float
    at: float
    stage: str
    reasoning: str = ""
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LostCall:
    """An attempt that was sent and whose answer was lost. `usd` is the most that it may cost."""

    model: str
    stage: str
    usd: float
    at: float


_ROWS_PER_GROUP = 4096
_NAMES = tuple(field.name for field in fields(Call))
_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64()}
_SCHEMA = pa.schema([(name, _ARROW.get(hint, pa.string())) for name, hint in get_type_hints(Call).items()])
_VALUES = attrgetter(*_NAMES)
_LOSS_VALUES = attrgetter("model", "stage", "usd", "at")
_LOSS_COLUMNS = "model TEXT, stage TEXT, usd REAL, at REAL"
_INSERT_LOSS = "INSERT INTO losses VALUES (?, ?, ?, ?)"
_INSERT = (
    f"INSERT INTO calls ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))}) "
    "ON CONFLICT (key) DO UPDATE SET times = times + 1"
)


_Entry = Call | LostCall
_Waiting = tuple[_Entry, "asyncio.Future[None]"]


class Ledger:
    """The calls of a run. A writer thread commits writes in groups, so that callers do not wait for each other."""

    def __init__(self, folder: Path, look_only: bool = False) -> None:
        self.begun = time.time()
        self._path = folder / _FILE
        self._waiting: deque[_Waiting] = deque()
        self._wake, self._closing = threading.Event(), False
        self._writer = threading.Thread(target=self._write_groups, name="ledger", daemon=True)
        try:
            self._database = self._open_to_look() if look_only else self._open()
            self._select = _selecting(self._database)
            if look_only:
                self._reader = self._database
                return
            self._take_in(folder)
        except (sqlite3.DatabaseError, KeyError) as error:
            then = "restore it from a copy; if there is none, delete it: every call is then made, and paid, again"
            raise StoreError(f"the ledger is damaged: {error}", where=str(self._path), then=then) from error
        # A separate connection for reads, so that they do not wait until a commit is on disk.
        self._reader = connect(self._path)
        self._writer.start()

    def _open_to_look(self) -> sqlite3.Connection:
        """Open the database for reading, even while another process writes; an empty one if there is no file."""
        if self._path.exists():
            return connect_to_look(self._path)
        database = sqlite3.connect(":memory:", check_same_thread=False)
        database.execute(f"CREATE TABLE calls ({_COLUMNS})")
        _add_columns(database)
        return database

    def _open(self) -> sqlite3.Connection:
        database = connect(self._path)
        # A call may have cost money, so it must survive a power cut, which other databases need not.
        database.execute("PRAGMA synchronous=FULL")
        database.execute(f"CREATE TABLE IF NOT EXISTS calls ({_COLUMNS})")
        _add_columns(database)
        database.execute(f"CREATE TABLE IF NOT EXISTS losses ({_LOSS_COLUMNS})")
        return database

    def _take_in(self, folder: Path) -> None:
        """Merge the files that workers have written."""
        for path in sorted(folder.glob("worker-*.sqlite")):
            self._database.execute("ATTACH ? AS worker", (str(path),))
            with self._database:
                # If a worker was killed before its first call, its file has no table.
                held = self._database.execute("SELECT name FROM worker.sqlite_master").fetchall()
                for table in {"calls", "losses"} & {name for (name,) in held}:
                    names = ", ".join(_columns_of(self._database, table, "worker"))
                    given = f"SELECT {names} FROM worker.{table}"
                    self._database.execute(f"INSERT OR IGNORE INTO {table} ({names}) {given}")
            self._database.execute("DETACH worker")
            path.unlink()

    def copy_calls(self, folder: Path) -> None:
        """Take over the calls of the ledger of another run, at no cost: that run has paid them."""
        path = folder / _FILE
        if not path.exists():
            return
        self._database.execute("ATTACH ? AS other", (str(path),))
        with self._database:
            names = _columns_of(self._database, "calls", "other")
            given = ", ".join("0" if name == "usd" else name for name in names)
            self._database.execute(f"INSERT OR IGNORE INTO calls ({', '.join(names)}) SELECT {given} FROM other.calls")
        self._database.execute("DETACH other")

    def get(self, key: str) -> Call | None:
        row = self._reader.execute(f"{self._select} WHERE key = ?", (key,)).fetchone()
        return Call(**dict(zip(_NAMES, row, strict=True))) if row else None

    async def put(self, entry: _Entry) -> None:
        """Write a finished or a lost call. Returns when it is on disk."""
        if not self._writer.is_alive():
            raise InternalError("a call ended after the ledger was closed", where=str(self._path))
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        self._wake.set()
        await written

    def calls(self, stage: str | None = None) -> Iterator[Call]:
        where = "" if stage is None else " WHERE stage = ?"
        for row in self._reader.execute(f"{self._select}{where} ORDER BY key", () if stage is None else (stage,)):
            yield Call(**dict(zip(_NAMES, row, strict=True)))

    def totals(self, stage: str | None = None) -> dict[str, float]:
        """The number of calls, their cost and tokens, and how many were made again (which must be none)."""
        where = "" if stage is None else " WHERE stage = ?"
        text = (
            "SELECT COUNT(*), COALESCE(SUM(usd), 0), COALESCE(SUM(tokens_in), 0), "
            f"COALESCE(SUM(tokens_out), 0), COALESCE(SUM(times - 1), 0) FROM calls{where}"
        )
        row = self._reader.execute(text, () if stage is None else (stage,)).fetchone()
        return dict(zip(("calls", "usd", "tokens_in", "tokens_out", "made_again"), row, strict=True))

    def usd_lost(self) -> float:
        """The most that lost calls of all starts may cost."""
        if not self._reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'losses'").fetchone():
            return 0.0  # a read-only ledger of an earlier version, which did not record losses
        return float(self._reader.execute("SELECT COALESCE(SUM(usd), 0) FROM losses").fetchone()[0])

    def seal(self, stage: str) -> None:
        """Write a stage's calls to Parquet, so that they can be read without spavl."""
        calls = self.calls(stage)
        file = self._path.with_name(f"{stage}.parquet")
        if not (group := list(islice(calls, _ROWS_PER_GROUP))):
            file.unlink(missing_ok=True)
            return
        with (
            writing_to(file) as temporary,
            pq.ParquetWriter(temporary, _SCHEMA, compression="zstd") as writer,
        ):
            while group:
                rows = [{name: getattr(call, name) for name in _NAMES} for call in group]
                writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
                group = list(islice(calls, _ROWS_PER_GROUP))

    def models(self) -> list[str]:
        """The names of all models in the ledger."""
        return [name for (name,) in self._reader.execute("SELECT DISTINCT model FROM calls ORDER BY model")]

    def has_answers_of(self, model: str) -> bool:
        """Whether this model has a call that its server did not reject."""
        text = "SELECT 1 FROM calls WHERE model = ? AND status != 'rejected' LIMIT 1"
        return self._reader.execute(text, (model,)).fetchone() is not None

    def models_that_think(self) -> frozenset[str]:
        """The names of the models that have a call with thoughts."""
        text = f"SELECT DISTINCT model FROM ({self._select}) WHERE reasoning_tokens > 0 OR reasoning != ''"
        return frozenset(name for (name,) in self._reader.execute(text))

    def forget_rejected(self, stage: str, model: str) -> int:
        """Delete the permanent 4xx of a model in a stage: they cost nothing, and the user may correct their cause."""
        text = "DELETE FROM calls WHERE stage = ? AND model = ? AND status = 'rejected'"
        with self._reader:
            return self._reader.execute(text, (stage, model)).rowcount

    async def give_up(self, calls: Iterable[Call]) -> None:
        """Delete calls, so that they are made again. Their cost is kept as that of lost calls."""
        own = list(calls)
        # The cost first: if this is stopped in between, it is counted twice and not lost.
        for call in own:
            if call.usd:
                await self.put(LostCall(model=call.model, stage=call.stage, usd=call.usd, at=call.at))
        with self._reader:
            self._reader.executemany("DELETE FROM calls WHERE key = ?", [(call.key,) for call in own])

    def close(self) -> None:
        if self._writer.is_alive():
            self._closing = True
            self._wake.set()
            self._writer.join()
            self._reader.close()
        self._database.close()

    def _write_groups(self) -> None:
        """The writer thread: while a group is written to disk, the next one accumulates."""
        while not self._closing or self._waiting:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                failure = self._write([entry for entry, _ in group])
                # If the group cannot be written, each call is written alone, so that one does not fail the others.
                told = [(written, self._write([entry]) if failure else None) for entry, written in group]
                for loop in {written.get_loop() for written, _ in told}:
                    with contextlib.suppress(RuntimeError):  # the loop is closed: no caller waits any more
                        loop.call_soon_threadsafe(_settle, [each for each in told if each[0].get_loop() is loop])

    def _write(self, entries: list[_Entry]) -> Exception | None:
        calls = [_VALUES(entry) for entry in entries if isinstance(entry, Call)]
        losses = [_LOSS_VALUES(entry) for entry in entries if isinstance(entry, LostCall)]
        try:
            with disk_faults(self._path), self._database:
                self._database.executemany(_INSERT, calls)
                if losses:
                    self._database.executemany(_INSERT_LOSS, losses)
        except Exception as error:  # handed to every caller of the group
            return error
        return None


def _columns_of(database: sqlite3.Connection, table: str, where: str = "main") -> list[str]:
    return [str(row[1]) for row in database.execute(f"PRAGMA {where}.table_info({table})")]


def _add_columns(database: sqlite3.Connection) -> None:
    there = {*_columns_of(database, "calls")}
    for name, kind in _ADDED.items():
        if name not in there:
            database.execute(f"ALTER TABLE calls ADD COLUMN {name} {kind}")


def _selecting(database: sqlite3.Connection) -> str:
    """The SELECT clause for calls. A read-only ledger of an earlier version lacks some columns."""
    there = {*_columns_of(database, "calls")}
    empty = {"reasoning": "''", "reasoning_tokens": "0"}
    return f"SELECT {', '.join(name if name in there else empty[name] for name in _NAMES)} FROM calls"


def _settle(told: Sequence[tuple["asyncio.Future[None]", Exception | None]]) -> None:
    for written, failure in told:
        if written.cancelled():
            continue
        if failure is None:
            written.set_result(None)
        else:
            written.set_exception(failure)
