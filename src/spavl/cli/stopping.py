"""How work ends that somebody tells to: once, however many say so, while the answers under way still come in."""

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
# A terminal or a service manager tells a whole group of processes, and a parent passes on what it is told itself:
# what comes so soon after the first is the same wish. Later, Ctrl-C means that the answers are not to be waited for.
_SAME_WISH = 2.0


@contextlib.contextmanager
def ended_as_by_hand() -> Iterator[None]:
    """Have what schedulers and closed terminals send end the work as Ctrl-C does: paid answers still come in.

    Whoever has it ignored, as `nohup` does, means it; and only a process's main thread is told of signals.
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
            # None is one that was not set by Python, and cannot be set back by it.
            if how is not None:
                signal.signal(sent, how)


def _end(sent: int, frame: FrameType | None) -> None:
    """Outside of an event loop nothing is paid for that is under way."""
    for each in _BY_OTHERS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def run_until_told(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, but whoever tells it to end is obeyed once; a Ctrl-C some time later cuts even that short."""
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
            # It may wait for what comes much later.
            loop.call_soon_threadsafe(lambda: None)
        elif sent == signal.SIGINT and time.monotonic() - told_at > _SAME_WISH:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        # One that is ignored, as Ctrl-C is by what a script starts in the background, stays so.
        before = {sent: how for sent in (signal.SIGINT, *_BY_OTHERS) if callable(how := signal.getsignal(sent))}
    for sent in before:
        signal.signal(sent, end)
    try:
        return await work
    finally:
        # Once told, all until the end of the process is obeying.
        if told_at is None:
            for sent, how in before.items():
                signal.signal(sent, how)
