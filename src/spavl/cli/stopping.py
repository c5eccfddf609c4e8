"""Stops work on a signal: once, however many signals arrive, and after the answers in flight have come in."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

_BY_OTHERS = (signal.SIGTERM, signal.SIGHUP)
# A terminal or a service manager signals a whole process group, and a parent passes its own signals on: a signal within
# these seconds after the first is the same request. A later Ctrl-C means not to wait for the answers.
_SAME_WISH = 2.0


@contextlib.contextmanager
def ended_as_by_hand() -> Iterator[None]:
    """Make the signals of schedulers and closed terminals stop the work as Ctrl-C does: paid answers still come in.

    A signal that is ignored, as under `nohup`, stays ignored. Only the main thread of a process gets signals.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {sent: signal.getsignal(sent) for sent in (signal.SIGINT, *_BY_OTHERS)}
    for sent in _BY_OTHERS:
        if before.get(sent) is signal.SIG_DFL:
            signal.signal(sent, _end)
    try:
        yield
    finally:
        for sent, how in before.items():
            # None is a handler that Python did not set, and that Python cannot restore.
            if how is not None:
                signal.signal(sent, how)


def _end(sent: int, frame: FrameType | None) -> None:
    """Stop at once: outside an event loop no paid call is in flight."""
    for each in _BY_OTHERS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def run_until_told(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, but only the first signal cancels the work; a Ctrl-C some time later stops it at once."""
    return asyncio.run(_obeying_once(work))


async def _obeying_once(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    told_at: float | None = None

    def end(sent: int, frame: FrameType | None) -> None:
        nonlocal told_at
        if told_at is None:
            told_at = time.monotonic()
            assert task is not None
            task.cancel()
            # Wake the event loop, which may be waiting for a much later event.
            loop.call_soon_threadsafe(lambda: None)
        elif sent == signal.SIGINT and time.monotonic() - told_at > _SAME_WISH:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        # An ignored signal stays ignored, such as Ctrl-C in a process that a script starts in the background.
        before = {sent: how for sent in (signal.SIGINT, *_BY_OTHERS) if callable(how := signal.getsignal(sent))}
    for sent in before:
        signal.signal(sent, end)
    try:
        return await work
    finally:
        # After a signal the process is stopping, so the handlers stay in place until it ends.
        if told_at is None:
            for sent, how in before.items():
                signal.signal(sent, how)
