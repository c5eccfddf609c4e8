"""Compares images whose perceptual hashes agree region by region, in sandboxed workers, on demand."""

import contextlib
import itertools
import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from spavl.engine.driver import SHARD, cores
from spavl.engine.sandbox import Sandbox, WorkerDeath, WorkerLimits
from spavl.imaging.decode import Undecodable, decode
from spavl.imaging.detail import COARSE, FINE, ImageDetail, Pair, Shades, alike, are_alike_moved, detail_of

_LIMITS = WorkerLimits(seconds=60, memory=4 * 2**30)
# Images compared at a time, so that one image can be compared with any number of others.
_AT_ONCE = 256


class ImageDetails:
    """Decides which images with equal or near hashes are alike. `read` returns an image's bytes by its name.

    Each image is decoded once. Its detail is kept in a temporary file, so that memory use does not grow with the number
    of images. An image that cannot be decoded has no detail: it is alike to every image that its hash matches.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._sandbox = Sandbox(_answers, cores(), _LIMITS)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._held: mmap.mmap | None = None
        # The offset of each image's detail in the file, and whether it has the fine part; None if it has no detail.
        self._places: dict[str, tuple[int, bool] | None] = {}

    def alike(self, name: str, others: Sequence[str]) -> Iterator[str]:
        """Yield those of the others that are alike to this image. It is lazy: the caller may stop at the first."""
        for start in range(0, len(others), _AT_ONCE):
            some = others[start : start + _AT_ONCE]
            self._make([name, *some])
            known = [other for other in some if self._places[other] is not None]
            if self._places[name] is None or not known:
                yield from some
                continue
            answers = alike(self._detail(name), [self._detail(other) for other in known], self._run_in_workers)
            unlike = {other for other, answer in zip(known, answers, strict=True) if not answer}
            yield from (other for other in some if other not in unlike)

    def close(self) -> None:
        self._sandbox.close()
        self._file.close()

    def _make(self, names: Sequence[str]) -> None:
        missing = [name for name in dict.fromkeys(names) if name not in self._places]
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            details = self._run_in_workers([partial(self._read, name) for name in some])
            for name, detail in zip(some, details, strict=True):
                self._places[name] = None if detail is None else (self._file.seek(0, 2), detail.fine is not None)
                for shades in () if detail is None else detail:
                    self._file.write(b"" if shades is None else shades.tobytes())
        if missing and self._file.tell():
            self._file.flush()
            self._held = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def _run_in_workers(self, items: Sequence[Pair | Callable[[], bytes]]) -> list[Any]:
        """For a pair, whether the images are alike after registration; for a function that reads bytes, the detail."""
        if not items:
            return []

        def answers(shard: Sequence[Pair | Callable[[], bytes]]) -> list[Any]:
            found = self._sandbox.run([item if isinstance(item, tuple) else item() for item in shard])
            return [None if isinstance(answer, WorkerDeath) else answer for answer in found]

        shards = [items[start : start + SHARD] for start in range(0, len(items), SHARD)]
        with ThreadPoolExecutor(cores()) as threads:
            return list(itertools.chain.from_iterable(threads.map(answers, shards)))

    def _detail(self, name: str) -> ImageDetail:
        place, has_fine = self._places[name] or (0, False)
        fine = self._shades(place + COARSE * COARSE, FINE) if has_fine else None
        return ImageDetail(self._shades(place, COARSE), fine)

    def _shades(self, place: int, side: int) -> Shades:
        assert self._held is not None
        return np.frombuffer(self._held, np.uint8, side * side, place).reshape(side, side)


@contextlib.contextmanager
def open_details(read: Callable[[str], bytes]) -> Iterator[ImageDetails]:
    details = ImageDetails(read)
    try:
        yield details
    finally:
        details.close()


def _answers(shard: Sequence[Pair | bytes]) -> list[bool | ImageDetail | None]:
    """Runs in a worker."""
    return [are_alike_moved([item])[0] if isinstance(item, tuple) else _detail_or_none(item) for item in shard]


def _detail_or_none(data: bytes) -> ImageDetail | None:
    try:
        return detail_of(decode(data).pixels)
    except Undecodable:
        return None
