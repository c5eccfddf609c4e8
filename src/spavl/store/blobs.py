"""Images, stored once under the SHA-256 of their bytes."""

import hashlib
from pathlib import Path

from spavl.errors import StoreError
from spavl.store.files import write_bytes


class Blobs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        if not self.path(digest).exists():
            # Not synced to disk one by one, since there are many. The tables that name them are written later.
            write_bytes(self.path(digest), data, lasting=False)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of an image. Raises if the file is missing, or holds other bytes than those that were put."""
        then = "restore this file, or delete it and build the run again"
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise StoreError(f"image {digest[:12]} is missing", where=str(self.path(digest)), then=then) from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise StoreError(f"image {digest[:12]} is damaged", where=str(self.path(digest)), then=then)
        return data
