"""Records downloaded images and permanent failures, so that nothing is downloaded twice.

After a change of the filters, or after an interrupted run, only temporary failures are requested again.
"""

import asyncio
from pathlib import Path

from spavl.errors import StoreError
from spavl.imaging.unfetchable import Unfetchable
from spavl.store.blobs import Blobs
from spavl.store.files import disk_faults
from spavl.store.sqlite import connect


class DownloadLog:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "downloads.sqlite"
        self._database = connect(self._path)
        # Either the hash of the bytes, or the reason of a permanent failure.
        self._database.execute("CREATE TABLE IF NOT EXISTS known (url TEXT PRIMARY KEY, blob TEXT, reason TEXT)")
        self._blobs = Blobs(folder)

    async def get(self, url: str) -> bytes | None:
        """The bytes of an earlier download; None if there are none. Raises Unfetchable after a permanent failure."""
        found = self._database.execute("SELECT blob, reason FROM known WHERE url = ?", (url,)).fetchone()
        if found is None:
            return None
        blob, reason = found
        if reason:
            raise Unfetchable(reason)
        try:
            return await asyncio.to_thread(self._blobs.get, blob)
        except StoreError:
            return None

    async def keep(self, url: str, data: bytes) -> None:
        self._write(url, await asyncio.to_thread(self._blobs.put, data), None)

    def keep_failure(self, url: str, reason: str) -> None:
        self._write(url, None, reason)

    def _write(self, url: str, blob: str | None, reason: str | None) -> None:
        with disk_faults(self._path), self._database:
            self._database.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", (url, blob, reason))

    def close(self) -> None:
        self._database.close()
