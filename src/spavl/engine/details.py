"""The details of images whose perceptual hashes agree, made by guarded workers when they are asked for."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from spavl.engine.sandbox import Died, Limits, Sandbox
from spavl.engine.workers import SHARD, cores
from spavl.imaging.decode import Undecodable, decode
from spavl.imaging.detail import SIDE, Detail, alike, detail_of

_LIMITS = Limits(seconds=60, memory=4 * 2**30)
# Compared at a time, so that one image may be held against any number.
_AT_ONCE = 256


class Details:
    """Says which images of equal or near hashes are alike. `read` gives an image's bytes by its name.

    An image is decoded once, and its detail kept in a file without a name, so that memory stays small however many
    images there are. One that cannot be decoded has no detail: of it the hash alone decides.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._sandbox = Sandbox(_details, cores(), _LIMITS)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._places: dict[str, int | None] = {}

    def alike(self, name: str, others: Sequence[str]) -> Iterator[str]:
        """Those of the others that are like this image, a few at a time, so that one may stop at the first."""
        for start in range(0, len(others), _AT_ONCE):
            some = others[start : start + _AT_ONCE]
            self._make([name, *some])
            own = self._detail(name)
            details = [self._detail(other) for other in some]
            known = [detail for detail in details if detail is not None]
            if own is None or not known:
                yield from some
                continue
            found = iter(alike(own, np.stack(known)).tolist())
            yield from (other for other, detail in zip(some, details, strict=True) if detail is None or next(found))

    def close(self) -> None:
        self._sandbox.close()
        self._file.close()

    def _make(self, names: Sequence[str]) -> None:
        missing = [name for name in dict.fromkeys(names) if name not in self._places]
        shards = [missing[start : start + SHARD] for start in range(0, len(missing), SHARD)]
        with ThreadPoolExecutor(cores()) as threads:
            for shard, made in zip(shards, threads.map(self._made, shards), strict=True):
                for name, detail in zip(shard, made, strict=True):
                    self._places[name] = None if detail is None else self._file.seek(0, 2)
                    if detail is not None:
                        self._file.write(detail.tobytes())

    def _made(self, names: Sequence[str]) -> list[Detail | None]:
        found: list[Detail | Died | None] = self._sandbox.run([self._read(name) for name in names])
        return [None if isinstance(detail, Died) else detail for detail in found]

    def _detail(self, name: str) -> Detail | None:
        place = self._places[name]
        if place is None:
            return None
        self._file.seek(place)
        return np.frombuffer(self._file.read(SIDE * SIDE), dtype=np.uint8).reshape(SIDE, SIDE)


@contextlib.contextmanager
def open_details(read: Callable[[str], bytes]) -> Iterator[Details]:
    details = Details(read)
    try:
        yield details
    finally:
        details.close()


def _details(shard: Sequence[bytes]) -> list[Detail | None]:
    """Runs in a worker."""
    return [_detail_or_none(data) for data in shard]


def _detail_or_none(data: bytes) -> Detail | None:
    try:
        return detail_of(decode(data).pixels)
    except Undecodable:
        return None
