"""A worker process: reads shards from standard input, writes results to standard output.

A message is its length followed by a pickle.
"""

import os
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
from typing import IO

HEAD = 8


def read_message(stream: IO[bytes]) -> bytes:
    """The next message; empty if the other side is gone."""
    size = int.from_bytes(stream.read(HEAD))
    return stream.read(size)


def write_message(stream: IO[bytes], message: bytes) -> None:
    stream.write(len(message).to_bytes(HEAD))
    stream.write(message)
    stream.flush()


def main(parent: int) -> None:
    # Ctrl-C and a scheduler's signals reach the whole process group; a worker ends when its parent does.
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sent, signal.SIG_IGN)
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Output that a library prints must not mix with the messages.
    os.dup2(2, 1)
    sys.path, memory, task = pickle.loads(read_message(stdin))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    function = None
    while message := read_message(stdin):
        try:
            function = function or pickle.loads(task)
            answer: tuple[bool, object] = True, function(pickle.loads(message))
        except MemoryError:
            # The state of this process cannot be trusted; its exit code reports the error.
            os._exit(137)
        except BaseException as error:
            answer = False, (_picklable_error(error), traceback.format_exc())
        write_message(stdout, pickle.dumps(answer, protocol=5))


def _end_with(parent: int) -> None:
    """Exit when the parent is gone: a worker that hangs would not notice it otherwise.

    Its id comes from the parent itself, which may have been killed before this process first looks.
    """
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _picklable_error(error: BaseException) -> BaseException:
    """The error if it can be pickled and unpickled, else a RuntimeError with its repr."""
    try:
        return pickle.loads(pickle.dumps(error)) if isinstance(error, Exception) else RuntimeError(repr(error))
    except Exception:
        return RuntimeError(repr(error))
