"""Worker processes for shards. An item that crashes or stalls a worker is identified; the others are processed."""

import atexit
import contextlib
import fcntl
import os
import pickle
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Any, NamedTuple

from spavl.engine.worker import HEAD, write_message
from spavl.errors import InternalError, SpavlError

_PIPE = 1 << 20
_ENVIRONMENT = {
    # Many workers run at once: the libraries of one must not use every core.
    "OMP_NUM_THREADS": "1",
    # By default glibc returns large blocks to the system as soon as they are free, and the next image has to have them
    # zeroed page by page: 6 % of the time of processing images. Without glibc these variables have no effect.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 27),
}


class WorkerLimits(NamedTuple):
    """Limits of one worker: seconds for a shard, bytes of memory."""

    seconds: float
    memory: int


class WorkerDeath(NamedTuple):
    """The result of an item that crashed or stalled its worker, with the reason."""

    reason: str


class _WorkerEnded(Exception):
    """The worker ended or is too slow; the message is the reason."""


def pack_shard(items: Sequence[Any]) -> bytes:
    return pickle.dumps(items, protocol=5)


def unpack_results(answer: bytes) -> list[Any]:
    """The results of a packed shard. Raises the error that the worker's function raised."""
    done, found = pickle.loads(answer)
    if done:
        return list(found)
    error, told = found
    if isinstance(error, SpavlError):
        raise error
    raise InternalError(f"a worker failed: {told.strip().splitlines()[-1]}", where=told)


class _Worker:
    """One child process."""

    def __init__(self, task: bytes, limits: WorkerLimits) -> None:
        self._limits = limits
        environment = os.environ | _ENVIRONMENT
        command = [sys.executable, "-c", f"from spavl.engine.worker import main; main({os.getpid()})"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert self._child.stdin is not None and self._child.stdout is not None
        self._stdin, self._stdout = self._child.stdin, self._child.stdout
        for pipe in (self._stdin, self._stdout):
            _widen(pipe)
        # The worker loads its libraries on the first shard, so that loading counts toward that shard's time limit.
        self._send(task)

    def run(self, message: bytes) -> bytes:
        deadline = time.monotonic() + self._limits.seconds
        self._send(message)
        size = int.from_bytes(self._read(HEAD, deadline))
        return self._read(size, deadline)

    def end(self) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._stdin, self._stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _send(self, message: bytes) -> None:
        try:
            write_message(self._stdin, message)
        except BrokenPipeError:
            raise _WorkerEnded("killed_worker") from None

    def _read(self, size: int, deadline: float) -> bytes:
        handle, parts = self._stdout.fileno(), []
        while size:
            ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise _WorkerEnded("too_slow")
            part = os.read(handle, min(size, 2**20))
            if not part:
                raise _WorkerEnded("too_much_memory" if self._child.wait() == 137 else "killed_worker")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _widen(pipe: IO[bytes]) -> None:
    """Enlarge a pipe's buffer, so that a shard takes few writes. Ignored if the system does not support it."""
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


class Sandbox:
    """A pool of worker processes. It is thread-safe and replaces dead workers."""

    def __init__(self, function: Callable[[Sequence[Any]], Sequence[Any]], workers: int, limits: WorkerLimits) -> None:
        self._task = pickle.dumps((sys.path, limits.memory, pickle.dumps(function)))
        self._limits = limits
        self._free: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        for _ in range(workers):
            self._free.put(None)
        atexit.register(self.close)

    def run(self, items: Sequence[Any]) -> list[Any]:
        """The results of a shard, in order. If its worker dies, each item is run alone to find the cause."""
        return unpack_results(self.run_packed(pack_shard(items)))

    def run_packed(self, shard: bytes) -> bytes:
        """Like `run`, but with a pickled shard and pickled results."""
        try:
            return self._run(shard)
        except _WorkerEnded as ended:
            items = pickle.loads(shard)
            alone = (
                [WorkerDeath(str(ended))] if len(items) == 1 else [each for item in items for each in self.run([item])]
            )
            return pickle.dumps((True, alone))

    def close(self) -> None:
        with self._lock:
            self._closed, ended = True, list(self._all)
            self._all.clear()
        for worker in ended:
            worker.end()
        atexit.unregister(self.close)

    def _run(self, shard: bytes) -> bytes:
        worker = self._free.get()
        alive = None
        try:
            worker = worker or self._start()
            answer = worker.run(shard)
            alive = worker
            return answer
        finally:
            if worker is not None and alive is None:
                self._drop(worker)
            self._free.put(alive)

    def _start(self) -> _Worker:
        worker = _Worker(self._task, self._limits)
        with self._lock:
            if not self._closed:
                self._all.add(worker)
                return worker
        worker.end()
        raise InternalError("a closed sandbox was asked to work")

    def _drop(self, worker: _Worker) -> None:
        with self._lock:
            known = worker in self._all
            self._all.discard(worker)
        if known:
            worker.end()
