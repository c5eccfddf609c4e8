"""Reads untrusted files in a process of its own: a file that crashes its reader is named, and the rest is read.

Decoders of tables and images are large and written in C++, and some files make them end their process (SIGABRT) or
take all memory. Nothing of that can be caught where it happens.
"""

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from spavl.engine.sandbox import Sandbox, WorkerDeath, WorkerLimits
from spavl.errors import ConfigError

T = TypeVar("T")

LIMITS = WorkerLimits(seconds=600, memory=4 * 2**30)
# What is sent at once: few large rows, or many small ones.
_MOST_ROWS, _MOST_BYTES = 512, 4 * 2**20
_ENDED = {
    "killed_worker": "it ends the process that reads it",
    "too_much_memory": f"it takes more than {LIMITS.memory >> 30} GiB of memory to read",
    "too_slow": f"nothing of it came in {LIMITS.seconds:.0f} s",
}


class FileOpened(NamedTuple):
    """What a reader yields before it opens a file, so that the file can be named that it does not survive."""

    file: str


class ReaderCrash(ConfigError):
    """A file that the process which read it did not survive."""

    def __init__(self, died: WorkerDeath, file: str) -> None:
        then = "take the file out, or download it again"
        super().__init__(f"this file cannot be read: {_ENDED[died.reason]}", where=file, then=then)


# Processes that have read, and may read again: to begin one takes as long as to read ten thousand rows.
_free: list[Sandbox] = []


def rows_apart(read: Callable[..., Iterator[Any]], *given: Any, file: str = "") -> Iterator[Any]:
    """What a generator yields that runs in a process of its own, but for its Reading. All it is given is pickled."""
    sandbox = _free.pop() if _free else Sandbox(_Streams(), 1, LIMITS)
    # A process that read before stands where its caller stood then.
    asked: tuple[Any, ...] | None = (read, given, Path.cwd())
    try:
        while True:
            (answer,) = sandbox.run([asked])
            asked = None
            if isinstance(answer, WorkerDeath):
                raise ReaderCrash(answer, file)
            rows, is_last = answer
            for row in map(pickle.loads, rows):
                if isinstance(row, FileOpened):
                    file = row.file
                else:
                    yield row
            if is_last:
                return
    finally:
        _free.append(sandbox)


class _Streams:
    """In the worker: a generator at a time, of which each call gives what comes next."""

    def __init__(self) -> None:
        self._rows: Iterator[Any] = iter(())

    def __call__(self, shard: Sequence[tuple[Callable[..., Iterator[Any]], Sequence[Any], Path] | None]) -> list[Any]:
        (asked,) = shard
        if asked is not None:
            read, given, folder = asked
            os.chdir(folder)
            self._rows = read(*given)
        rows, size = list[bytes](), 0
        for row in self._rows:
            rows.append(pickle.dumps(row, protocol=5))
            size += len(rows[-1])
            # That a file is opened is told before it is.
            if isinstance(row, FileOpened) or len(rows) == _MOST_ROWS or size > _MOST_BYTES:
                return [(rows, False)]
        return [(rows, True)]
