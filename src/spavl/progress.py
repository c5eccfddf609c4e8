"""A bar with its rate and the time left; plain lines where nobody watches."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_LINE_EVERY = 10.0


class Bar(Protocol):
    def advance(self, note: str = "", rejected: int = 0) -> None: ...

    def tell(self, note: str) -> None:
        """Say what is waited for."""


class Screen:
    """Where a run shows itself. Bars on a terminal, a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def bar(self, name: str, total: int, done: int = 0, unit: str = "rows") -> Iterator[Bar]:
        """Show work on `total` things, `done` of which were finished before."""
        if not self._console.is_terminal:
            yield _Lines(self, name, total, done, unit)
            return
        columns: tuple[ProgressColumn, ...] = (
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as progress:
            yield _Live(progress, name, total, done)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {self._unit}/s")


class _Live:
    def __init__(self, progress: Progress, name: str, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=total, completed=done, note="")

    def advance(self, note: str = "", rejected: int = 0) -> None:
        self._progress.update(self._task, advance=1, note=note)

    def tell(self, note: str) -> None:
        self._progress.update(self._task, note=note)


class _Lines:
    def __init__(self, screen: Screen, name: str, total: int, done: int, unit: str) -> None:
        self._screen, self._name, self._total, self._done, self._unit = screen, name, total, done, unit
        self._before, self._began = done, time.monotonic()
        self._next = self._began + _LINE_EVERY

    def advance(self, note: str = "", rejected: int = 0) -> None:
        self._done += 1
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LINE_EVERY
            rate = (self._done - self._before) / (now - self._began)
            left = (self._total - self._done) / rate
            text = f"{self._name}: {self._done}/{self._total}, {rate:.1f} {self._unit}/s, {left:.0f} s left {note}"
            self._screen.say(text.rstrip())

    def tell(self, note: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LINE_EVERY
            self._screen.say(f"{self._name}: {note}")
