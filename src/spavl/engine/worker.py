"""A worker process: reads shards from standard input, writes results to standard output.

Messages are pickles behind their length.
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
    """The next message; empty when the other side is gone."""
    size = int.from_bytes(stream.read(HEAD))
    return stream.read(size)


def write_message(stream: IO[bytes], message: bytes) -> None:
    stream.write(len(message).to_bytes(HEAD))
    stream.write(message)
    stream.flush()


def main() -> None:
    # Ctrl-C reaches the whole group, and so may what a scheduler sends; a worker ends when its parent does.
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sent, signal.SIG_IGN)
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not stand among the messages.
    os.dup2(2, 1)
    sys.path, memory, task = pickle.loads(read_message(stdin))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    function = None
    while message := read_message(stdin):
        try:
            function = function or pickle.loads(task)
            answer: tuple[bool, object] = True, function(pickle.loads(message))
        except MemoryError:
            # What is left of this process cannot be trusted; its end is the answer.
            os._exit(137)
        except BaseException as error:
            answer = False, (_carried(error), traceback.format_exc())
        write_message(stdout, pickle.dumps(answer, protocol=5))


def _end_with(parent: int) -> None:
    """A worker that hangs would not see that its parent was killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _carried(error: BaseException) -> BaseException:
    """The error if it survives the way back, which not every error does."""
    try:
        return pickle.loads(pickle.dumps(error)) if isinstance(error, Exception) else RuntimeError(repr(error))
    except Exception:
        return RuntimeError(repr(error))
