"""Decodes images of an imported data set in sandboxed workers; they are stored upright and without metadata.

Faces, and personal data in words, are looked for and covered there too, before anything is stored.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.inspect_image import FetchedImage, RefusedImage, examine
from spavl.data.downloads.notes import region_notes
from spavl.engine.driver import cores
from spavl.engine.isolated_reader import LIMITS
from spavl.engine.sandbox import Sandbox, WorkerDeath
from spavl.publishing.importing.sources import ImportedRow
from spavl.stages.notes import RegionNotes, RegionSetting

# Rows in memory for each worker while their images are decoded.
_AHEAD = 4
# Larger than the ratio of any image that can be decoded.
_ANY_SHAPE = 2.0**31
_NOT_LOOKED_AT = RefusedImage("not_looked_at")


class ImportedImage(NamedTuple):
    """A decoded image: the hash of its stored bytes, its size, its perceptual hash and what was measured."""

    blob: str
    width: int
    height: int
    phash: str
    measures: tuple[str, ...]


def image_settings(faces: RegionSetting = "keep", personal_words: RegionSetting = "keep") -> DownloadsConfig:
    """The filters of an import: those for persons. An image of any size and shape is imported."""
    return DownloadsConfig(
        min_side=1, max_aspect_ratio=_ANY_SHAPE, faces=faces, personal_words=personal_words, extension_must_match=False
    )


class ImageImporter:
    """Decodes each image once, however many rows have it. `keep` stores an image's bytes and returns their hash."""

    def __init__(self, keep: Callable[[bytes], str], settings: DownloadsConfig) -> None:
        self._keep, self._settings, self._at_once = keep, settings, cores()
        self._sandbox = Sandbox(functools.partial(examine, settings), self._at_once, LIMITS)
        self._known: dict[str, ImportedImage | RefusedImage] = {}

    def close(self) -> None:
        self._sandbox.close()

    def beside(
        self, rows: Iterable[ImportedRow], is_wanted: Callable[[ImportedRow], bool]
    ) -> Iterator[tuple[ImportedRow, ImportedImage | RefusedImage]]:
        """Each row with its decoded image, or with the reason why there is none."""
        left = iter(rows)
        with ThreadPoolExecutor(self._at_once) as threads:
            while batch := list(islice(left, _AHEAD * self._at_once)):
                names = [hashlib.sha256(row.images[0]).hexdigest() if is_wanted(row) else "" for row in batch]
                new = {name: row.images[0] for name, row in zip(names, batch, strict=True) if name}
                asked = {name: threads.submit(self._look, new[name]) for name in new.keys() - self._known.keys()}
                self._known |= {name: look.result() for name, look in asked.items()}
                for row, name in zip(batch, names, strict=True):
                    yield row, self._known[name] if name else _NOT_LOOKED_AT

    def _look(self, data: bytes) -> ImportedImage | RefusedImage:
        (seen,) = self._sandbox.run([FetchedImage(data, "")])
        if isinstance(seen, WorkerDeath):
            return RefusedImage(seen.reason)
        if isinstance(seen, RefusedImage):
            return seen
        stored = self._keep(data if seen.data is None else seen.data)
        return ImportedImage(stored, seen.width, seen.height, seen.phash, seen.measures)

    def notes(self) -> dict[str, RegionNotes]:
        """What was found in the images, by the setting of each filter that is on."""
        looks = self._known.values()
        measures = (look.measures for look in looks if isinstance(look, ImportedImage))
        rejected = Counter(look.reason for look in looks if isinstance(look, RefusedImage))
        return region_notes(self._settings, measures, rejected)
