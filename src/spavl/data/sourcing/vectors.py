"""The embeddings of a catalogue's entries, stored in groups, so that an interruption loses one group at most."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from spavl.data.sourcing.catalogue import Catalogue
from spavl.data.sourcing.readers.entry import SkippedEntry, SourceEntry
from spavl.store.files import disk_faults


class StoredVector(NamedTuple):
    """The vector of an entry in half precision, or the reason why it has none."""

    number: int
    vector: bytes | None
    reason: str | None = None


class VectorStore:
    """The vectors of one model and one kind, named by `maker`, so that text and image vectors are never mixed."""

    def __init__(self, catalogue: Catalogue, maker: str) -> None:
        self._path, self._database, self._maker = catalogue.path, catalogue.database, maker

    def missing(self, most: int, captioned: bool) -> Iterator[list[tuple[int, SourceEntry]]]:
        """The entries without a stored result, in groups; if `captioned`, only entries with a caption."""
        after = 0
        while group := list(self._missing(after, most, captioned)):
            yield group
            after = group[-1][0]

    def _missing(self, after: int, most: int, captioned: bool) -> Iterator[tuple[int, SourceEntry]]:
        found = self._database.execute(
            "SELECT * FROM entries WHERE id > ? AND (caption != '' OR NOT ?) "
            "AND NOT EXISTS (SELECT 1 FROM vectors WHERE maker = ? AND vectors.id = entries.id) ORDER BY id LIMIT ?",
            (after, captioned, self._maker, most),
        )
        yield from ((number, SourceEntry(*entry)) for number, *entry in found)

    def keep(self, rows: Iterable[StoredVector]) -> None:
        with disk_faults(self._path), self._database as database:
            database.executemany("INSERT INTO vectors VALUES (?, ?, ?, ?)", [(self._maker, *row) for row in rows])

    def dealt_with(self) -> int:
        return self._count("SELECT COUNT(*) FROM vectors WHERE maker = ?")

    def __len__(self) -> int:
        return self._count("SELECT COUNT(*) FROM vectors WHERE maker = ? AND vector IS NOT NULL")

    def _count(self, query: str) -> int:
        return int(self._database.execute(query, (self._maker,)).fetchone()[0])

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        query = "SELECT id, vector FROM vectors WHERE maker = ? AND vector IS NOT NULL ORDER BY id"
        yield from self._database.execute(query, (self._maker,))

    def skipped_entries(self, most: int) -> list[SkippedEntry]:
        query = (
            "SELECT source, reason FROM vectors JOIN entries USING (id) "
            "WHERE maker = ? AND reason IS NOT NULL ORDER BY id LIMIT ?"
        )
        return [SkippedEntry(*row) for row in self._database.execute(query, (self._maker, most))]

    def reasons(self) -> dict[str, int]:
        query = (
            "SELECT reason, COUNT(*) FROM vectors WHERE maker = ? AND reason IS NOT NULL "
            "GROUP BY reason ORDER BY reason"
        )
        return dict(self._database.execute(query, (self._maker,)).fetchall())
