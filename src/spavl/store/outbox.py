"""Batch requests in flight: written to disk before they are sent, so that a crash loses no batch.

A request waits here without a batch until its file is sent. A batch is written down with the
file it is made of before the server is asked to begin it; whoever starts again and finds one
without a name asks the server which batch was made of that file.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from spavl.store.files import disk_faults
from spavl.store.sqlite import connect


@dataclass(frozen=True, slots=True)
class QueuedRequest:
    """A request that waits for its answer, with all that its line in the ledger will need."""

    key: str
    model: str
    request: str
    stage: str
    # The money that is set aside for it, in USD.
    most: float


@dataclass(frozen=True, slots=True)
class ProviderBatch:
    number: int
    model: str
    file_id: str
    # Empty while it is not known whether the server has begun it.
    batch_id: str


_NAMES = tuple(field.name for field in fields(QueuedRequest))


class Outbox:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection = connect(path)
        (self._usual,) = self._database.execute("PRAGMA synchronous").fetchone()
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY, model TEXT, file_id TEXT, batch_id TEXT)"
        )
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS posted (key TEXT PRIMARY KEY, model TEXT, request TEXT, stage TEXT, "
            "most REAL, batch INTEGER)"
        )
        with disk_faults(path), self._database:
            # What was never sent is asked for again by its row.
            self._database.execute("DELETE FROM posted WHERE batch IS NULL")

    def holds(self, key: str) -> bool:
        return self._database.execute("SELECT 1 FROM posted WHERE key = ?", (key,)).fetchone() is not None

    def add(self, posted: QueuedRequest) -> None:
        with disk_faults(self._path), self._database:
            values = [getattr(posted, name) for name in _NAMES]
            self._database.execute("INSERT INTO posted VALUES (?, ?, ?, ?, ?, NULL)", values)

    def begin(self, model: str, file_id: str) -> ProviderBatch:
        """All of a model's requests that wait are now one batch, made of this file."""
        # What follows may cost money, so this outlives a power cut too.
        self._database.execute("PRAGMA synchronous=FULL")
        with disk_faults(self._path), self._database:
            number = self._database.execute(
                "INSERT INTO batches (model, file_id, batch_id) VALUES (?, ?, '')", (model, file_id)
            ).lastrowid
            self._database.execute("UPDATE posted SET batch = ? WHERE batch IS NULL AND model = ?", (number, model))
        return ProviderBatch(number or 0, model, file_id, "")

    def name(self, batch: ProviderBatch, batch_id: str) -> ProviderBatch:
        with disk_faults(self._path), self._database:
            self._database.execute("UPDATE batches SET batch_id = ? WHERE number = ?", (batch_id, batch.number))
        self._database.execute(f"PRAGMA synchronous={self._usual}")
        return ProviderBatch(batch.number, batch.model, batch.file_id, batch_id)

    def batches(self) -> list[ProviderBatch]:
        found = self._database.execute("SELECT number, model, file_id, batch_id FROM batches ORDER BY number")
        return [ProviderBatch(*row) for row in found]

    def posted(self, batch: ProviderBatch, keys: Iterable[str]) -> Iterator[QueuedRequest]:
        """Those of these requests that belong to this batch and still wait."""
        text = f"SELECT {', '.join(_NAMES)} FROM posted WHERE key = ? AND batch = ?"
        for key in keys:
            if row := self._database.execute(text, (key, batch.number)).fetchone():
                yield QueuedRequest(*row)

    def left(self, batch: ProviderBatch) -> list[tuple[str, float]]:
        """Key and money of the requests of a batch that still wait."""
        found = self._database.execute("SELECT key, most FROM posted WHERE batch = ?", (batch.number,))
        return [(key, most) for key, most in found]

    def unsent(self, model: str) -> list[tuple[str, float]]:
        """Key and money of a model's requests that are in no batch yet."""
        found = self._database.execute("SELECT key, most FROM posted WHERE batch IS NULL AND model = ?", (model,))
        return [(key, most) for key, most in found]

    def forget_unsent(self, model: str) -> None:
        with disk_faults(self._path), self._database:
            self._database.execute("DELETE FROM posted WHERE batch IS NULL AND model = ?", (model,))

    def answered(self, keys: Iterable[str]) -> None:
        with disk_faults(self._path), self._database:
            self._database.executemany("DELETE FROM posted WHERE key = ?", [(key,) for key in keys])

    def end(self, batch: ProviderBatch) -> None:
        """Forget a batch, and whatever of it never came back."""
        with disk_faults(self._path), self._database:
            self._database.execute("DELETE FROM posted WHERE batch = ?", (batch.number,))
            self._database.execute("DELETE FROM batches WHERE number = ?", (batch.number,))

    def held(self) -> float:
        """The money set aside for all that waits."""
        return float(self._database.execute("SELECT COALESCE(SUM(most), 0) FROM posted").fetchone()[0])

    def counts(self) -> tuple[int, int]:
        """How many batches, and how many requests in them."""
        query = "SELECT (SELECT COUNT(*) FROM batches), (SELECT COUNT(*) FROM posted WHERE batch IS NOT NULL)"
        batches, requests = self._database.execute(query).fetchone()
        return int(batches), int(requests)

    def close(self) -> None:
        self._database.close()
