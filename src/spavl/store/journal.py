"""The results of an unfinished stage: one SQLite row for each input, written completely or not at all."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from spavl.records import Record, Reject, canonical_json
from spavl.store.files import disk_faults
from spavl.store.sqlite import connect
from spavl.store.tables import record_from

R = TypeVar("R", bound=Record)
In = TypeVar("In")


class Journal:
    """The rows and rejects of each finished input. A journal of another fingerprint starts empty."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        self._database = self._open(fingerprint)

    def _open(self, fingerprint: str) -> sqlite3.Connection:
        database = connect(self._path)
        database.execute("CREATE TABLE IF NOT EXISTS about (fingerprint TEXT)")
        database.execute(
            "CREATE TABLE IF NOT EXISTS done (position INTEGER PRIMARY KEY, key TEXT, rows TEXT, rejects TEXT)"
        )
        database.execute("CREATE TABLE IF NOT EXISTS answered (lane INTEGER, model TEXT, PRIMARY KEY (lane, model))")
        # What was found in the texts of an input, as JSON.
        database.execute("CREATE TABLE IF NOT EXISTS finds (position INTEGER PRIMARY KEY, found TEXT)")
        if database.execute("SELECT fingerprint FROM about").fetchone() != (fingerprint,):
            with database:
                database.execute("DELETE FROM about")
                database.execute("DELETE FROM done")
                database.execute("DELETE FROM answered")
                database.execute("DELETE FROM finds")
                database.execute("INSERT INTO about VALUES (?)", (fingerprint,))
        return database

    def count(self) -> int:
        return int(self._database.execute("SELECT COUNT(*) FROM done").fetchone()[0])

    def answering_models(self, stream: int) -> set[str]:
        """The models that have answered in this stream, in this start of the stage or an earlier one."""
        return {model for (model,) in self._database.execute("SELECT model FROM answered WHERE lane = ?", (stream,))}

    def note_answered(self, stream: int, models: Iterable[str]) -> None:
        with disk_faults(self._path), self._database:
            self._database.executemany(
                "INSERT OR IGNORE INTO answered VALUES (?, ?)", [(stream, each) for each in models]
            )

    def undone(self, inputs: Iterable[In], first: int = 0, step: int = 1) -> Iterator[tuple[int, In]]:
        """The inputs that are not done, with their positions. This uses one byte of memory per finished input.

        Their positions are `first` and every `step` after it, so that concurrent streams share a journal.
        """
        (last,) = self._database.execute("SELECT COALESCE(MAX(position), -1) FROM done").fetchone()
        done = bytearray(last // step + 1)
        own = "SELECT position FROM done WHERE position % ? = ?"
        for (position,) in self._database.execute(own, (step, first)):
            done[position // step] = 1
        for number, given in enumerate(inputs):
            if number >= len(done) or not done[number]:
                yield first + number * step, given

    def add(
        self,
        position: int,
        key: str,
        rows: Sequence[Record],
        rejects: Sequence[Reject],
        found: Mapping[str, Any] | None = None,
    ) -> None:
        spelled = [canonical_json([record.fields() for record in records]) for records in (rows, rejects)]
        with disk_faults(self._path), self._database:
            self._database.execute("INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)", (position, key, *spelled))
            if found is not None:
                self._database.execute("INSERT OR REPLACE INTO finds VALUES (?, ?)", (position, canonical_json(found)))

    def finds(self) -> Iterator[dict[str, Any]]:
        """What was found in the texts of each input."""
        for (text,) in self._database.execute("SELECT found FROM finds ORDER BY position"):
            yield json.loads(text)

    def rows(self, kind: type[R]) -> Iterator[R]:
        """All rows in the order of their inputs, not in the order in which they were finished."""
        return self._records("rows", kind)

    def rejects(self) -> Iterator[Reject]:
        return self._records("rejects", Reject)

    def _records(self, column: str, kind: type[R]) -> Iterator[R]:
        for (text,) in self._database.execute(f"SELECT {column} FROM done ORDER BY position"):
            for row in json.loads(text):
                yield record_from(kind, row)

    def close(self) -> None:
        self._database.close()

    def delete(self) -> None:
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
