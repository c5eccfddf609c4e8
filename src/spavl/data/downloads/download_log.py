"""Records downloaded images and permanent failures, so that nothing is downloaded twice.

After a change of the filters, or after an interrupted run, only temporary failures are requested again. Where faces or
words are covered or rejected, no image is recorded, since the log would hold it as it was: it is downloaded again.
"""

import asyncio
from pathlib import Path

from spavl.errors import StoreError
from spavl.imaging.unfetchable import Unfetchable
from spavl.store.blobs import Blobs
from spavl.store.files import disk_faults
from spavl.store.sqlite import connect


class DownloadLog:
    def __init__(self, folder: Path, keeps_images: bool = True) -> None:
        self._keeps_images = keeps_images
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
        if self._keeps_images:
            self._write(url, await asyncio.to_thread(self._blobs.put, data), None)

    def keep_failure(self, url: str, reason: str) -> None:
        self._write(url, None, reason)

    def _write(self, url: str, blob: str | None, reason: str | None) -> None:
        with disk_faults(self._path), self._database:
            self._database.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", (url, blob, reason))

    def close(self) -> None:
        if not self._keeps_images:
            self._forget_images()
        self._database.close()

    def _forget_images(self) -> None:
        """Delete the images of an earlier start, whose settings kept them."""
        with disk_faults(self._path):
            for (blob,) in self._database.execute("SELECT blob FROM known WHERE blob IS NOT NULL").fetchall():
                self._blobs.path(blob).unlink(missing_ok=True)
            with self._database:
                self._database.execute("DELETE FROM known WHERE blob IS NOT NULL")
