"""Reads untrusted files in a separate process: a file that crashes its reader is reported by name.

Decoders of tables and images are large and written in C++, and some files make them end their process (SIGABRT) or
take all memory. Neither can be caught inside that process.
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
# The most rows, and about the most bytes, of one message.
_MOST_ROWS, _MOST_BYTES = 512, 4 * 2**20
_ENDED = {
    "killed_worker": "it ends the process that reads it",
    "too_much_memory": f"it takes more than {LIMITS.memory >> 30} GiB of memory to read",
    "too_slow": f"nothing of it came in {LIMITS.seconds:.0f} s",
}


class FileOpened(NamedTuple):
    """Yielded by a reader before it opens a file, so that the file can be named if it crashes the reader."""

    file: str


class ReaderCrash(ConfigError):
    """A file crashed the process that read it."""

    def __init__(self, died: WorkerDeath, file: str) -> None:
        then = "take the file out, or download it again"
        super().__init__(f"this file cannot be read: {_ENDED[died.reason]}", where=file, then=then)


# Idle processes, kept for reuse: starting one takes as long as reading ten thousand rows.
_free: list[Sandbox] = []


def rows_apart(read: Callable[..., Iterator[Any]], *given: Any, file: str = "") -> Iterator[Any]:
    """Run a generator in another process and yield its rows, without `FileOpened`. Its arguments are pickled."""
    sandbox = _free.pop() if _free else Sandbox(_Streams(), 1, LIMITS)
    # The working directory is sent, since a reused process has that of its previous caller.
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
    """In the worker: one generator at a time; each call returns its next rows."""

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
            # The name of a file is sent before the file is opened.
            if isinstance(row, FileOpened) or len(rows) == _MOST_ROWS or size > _MOST_BYTES:
                return [(rows, False)]
        return [(rows, True)]
