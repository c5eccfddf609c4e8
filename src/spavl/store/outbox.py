"""Batch requests in flight: written to disk before they are sent, so that a crash loses no batch.

A request has no batch until its file is sent. A batch is recorded with its file before the
server is asked to start it. If a later start finds a batch without an id, it asks the server
for the batch of that file.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from spavl.store.files import disk_faults
from spavl.store.sqlite import connect


@dataclass(frozen=True, slots=True)
class QueuedRequest:
    """A request that waits for its answer, with the fields that its call in the ledger needs."""

    key: str
    model: str
    request: str
    stage: str
    # The money that is reserved for it, in USD.
    most: float


@dataclass(frozen=True, slots=True)
class ProviderBatch:
    number: int
    model: str
    file_id: str
    # Empty if it is not known whether the server has started the batch.
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
            # Requests that were not sent are added again when their rows are tried.
            self._database.execute("DELETE FROM posted WHERE batch IS NULL")

    def holds(self, key: str) -> bool:
        return self._database.execute("SELECT 1 FROM posted WHERE key = ?", (key,)).fetchone() is not None

    def add(self, posted: QueuedRequest) -> None:
        with disk_faults(self._path), self._database:
            values = [getattr(posted, name) for name in _NAMES]
            self._database.execute("INSERT INTO posted VALUES (?, ?, ?, ?, ?, NULL)", values)

    def begin(self, model: str, file_id: str) -> ProviderBatch:
        """Assign all unsent requests of a model to a new batch of this file."""
        # The batch may cost money, so this record must survive a power cut.
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

    def queued_requests(self, batch: ProviderBatch, keys: Iterable[str]) -> Iterator[QueuedRequest]:
        """The requests with these keys that belong to the batch and are not answered."""
        text = f"SELECT {', '.join(_NAMES)} FROM posted WHERE key = ? AND batch = ?"
        for key in keys:
            if row := self._database.execute(text, (key, batch.number)).fetchone():
                yield QueuedRequest(*row)

    def reservations(self, batch: ProviderBatch) -> list[tuple[str, float]]:
        """The key and the reserved money of each request of a batch that is not answered."""
        found = self._database.execute("SELECT key, most FROM posted WHERE batch = ?", (batch.number,))
        return [(key, most) for key, most in found]

    def unsent(self, model: str) -> list[tuple[str, float]]:
        """The key and the reserved money of each request of a model that is in no batch yet."""
        found = self._database.execute("SELECT key, most FROM posted WHERE batch IS NULL AND model = ?", (model,))
        return [(key, most) for key, most in found]

    def forget_unsent(self, model: str) -> None:
        with disk_faults(self._path), self._database:
            self._database.execute("DELETE FROM posted WHERE batch IS NULL AND model = ?", (model,))

    def delete_answered(self, keys: Iterable[str]) -> None:
        with disk_faults(self._path), self._database:
            self._database.executemany("DELETE FROM posted WHERE key = ?", [(key,) for key in keys])

    def end(self, batch: ProviderBatch) -> None:
        """Delete a batch, and its requests that were not answered."""
        with disk_faults(self._path), self._database:
            self._database.execute("DELETE FROM posted WHERE batch = ?", (batch.number,))
            self._database.execute("DELETE FROM batches WHERE number = ?", (batch.number,))

    def reserved_money(self) -> float:
        """The money reserved for all waiting requests."""
        return float(self._database.execute("SELECT COALESCE(SUM(most), 0) FROM posted").fetchone()[0])

    def counts(self) -> tuple[int, int]:
        """The number of batches, and of the requests in them."""
        query = "SELECT (SELECT COUNT(*) FROM batches), (SELECT COUNT(*) FROM posted WHERE batch IS NOT NULL)"
        batches, requests = self._database.execute(query).fetchone()
        return int(batches), int(requests)

    def close(self) -> None:
        self._database.close()
