"""Decodes images of an imported data set in sandboxed workers; they are stored upright and without metadata."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from spavl.engine.driver import cores
from spavl.engine.isolated_reader import LIMITS
from spavl.engine.sandbox import Sandbox, WorkerDeath
from spavl.imaging.decode import Undecodable, decode
from spavl.imaging.phash import perceptual_hash
from spavl.publishing.importing.sources import ImportedRow

# Rows in memory for each worker while their images are decoded.
_AHEAD = 4


class ImportedImage(NamedTuple):
    """A decoded image: the hash of its stored bytes, its size and its perceptual hash."""

    blob: str
    width: int
    height: int
    phash: str


class _SeenImage(NamedTuple):
    # The cleaned bytes; None if cleaning changed nothing.
    data: bytes | None
    width: int
    height: int
    phash: str


class ImageImporter:
    """Decodes each image once, however many rows have it. `keep` stores an image's bytes and returns their hash."""

    def __init__(self, keep: Callable[[bytes], str]) -> None:
        self._keep, self._at_once = keep, cores()
        self._sandbox = Sandbox(_look_at_all, self._at_once, LIMITS)
        self._known: dict[str, ImportedImage | str] = {}

    def close(self) -> None:
        self._sandbox.close()

    def beside(
        self, rows: Iterable[ImportedRow], is_wanted: Callable[[ImportedRow], bool]
    ) -> Iterator[tuple[ImportedRow, ImportedImage | str]]:
        """Each row with its decoded image, or with the reason why there is none."""
        left = iter(rows)
        with ThreadPoolExecutor(self._at_once) as threads:
            while batch := list(islice(left, _AHEAD * self._at_once)):
                names = [hashlib.sha256(row.images[0]).hexdigest() if is_wanted(row) else "" for row in batch]
                new = {name: row.images[0] for name, row in zip(names, batch, strict=True) if name}
                asked = {name: threads.submit(self._look, new[name]) for name in new.keys() - self._known.keys()}
                self._known |= {name: look.result() for name, look in asked.items()}
                for row, name in zip(batch, names, strict=True):
                    yield row, self._known[name] if name else "not_looked_at"

    def _look(self, data: bytes) -> ImportedImage | str:
        (seen,) = self._sandbox.run([data])
        if isinstance(seen, WorkerDeath):
            return seen.reason
        if isinstance(seen, str):
            return seen
        return ImportedImage(self._keep(data if seen.data is None else seen.data), seen.width, seen.height, seen.phash)


def _look_at_all(shard: Sequence[bytes]) -> list[_SeenImage | str]:
    return [_look_at(data) for data in shard]


def _look_at(data: bytes) -> _SeenImage | str:
    try:
        pixels, clean = decode(data)
    except Undecodable as error:
        return str(error)
    return _SeenImage(None if clean == data else clean, pixels.width, pixels.height, perceptual_hash(pixels))
