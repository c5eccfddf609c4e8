"""Progress output: a live table on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from spavl.terminal.live_table import LiveStageRow, LiveTable, ServerStatus, Spending
from spavl.text.safe_console import SafeConsole, live

_LINE_EVERY = 10.0
_FRAMES_PER_SECOND = 4


class ProgressBar(Protocol):
    def advance(self, note: str = "", rejected: int = 0) -> None: ...

    def tell(self, note: str) -> None:
        """Show what the work waits for."""


def _nothing_asked() -> tuple[Sequence[ServerStatus], Spending]:
    return (), Spending(0.0, None, None)


class Screen:
    """A live table on a terminal; elsewhere a line every ten seconds, and one for each stage."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = SafeConsole(file=sys.stderr, highlight=False, quiet=quiet)
        self._table: LiveTable | None = None

    @property
    def is_live(self) -> bool:
        return self._console.is_terminal and not self._console.quiet

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=not self._console.is_terminal)

    @contextlib.contextmanager
    def table(
        self,
        title: str,
        names: Iterable[str],
        look: Callable[[], tuple[Sequence[ServerStatus], Spending]] = _nothing_asked,
    ) -> Iterator[None]:
        """Show the stages of a pipeline until it ends; `look` returns the state of the servers and the spending."""
        if not self.is_live:
            yield
            return
        self._table = LiveTable(title, names, look)
        try:
            # However this ends, rich restores the terminal's cursor and leaves the last frame.
            with live(self._table, self._console, _FRAMES_PER_SECOND):
                yield
        finally:
            self._table = None

    def report_finished(self, name: str, rows: int, rejected: int, when: str) -> None:
        """Report that a stage has finished."""
        if self._table is None:
            left_out = f", {rejected} rejected" if rejected else ""
            self.say(f"{name:<12} {rows:>7} rows{left_out}  ({when})")
            return
        row = self._table.row(name)
        row.done, row.rejected, row.over = rows, rejected, when

    def unfinished_share(self, name: str) -> float:
        """The unfinished share of a stage."""
        row = self._table.rows.get(name) if self._table else None
        if row is None or row.over:
            return 0.0
        return 1.0 - row.done / row.total if row.total else 1.0

    @contextlib.contextmanager
    def bar(self, name: str, total: int, done: int = 0, unit: str = "rows") -> Iterator[ProgressBar]:
        """Show the progress of `total` units of work, `done` of which were finished before."""
        if not self.is_live:
            yield _Lines(self, name, total, done, unit)
            return
        with self.table("spavl", [name]) if self._table is None else contextlib.nullcontext():
            assert self._table is not None
            row = self._table.row(name)
            row.begin(total, done, unit)
            yield _Row(row)
            row.over = row.over or ("done" if row.inner else "")


class _Row:
    def __init__(self, row: LiveStageRow) -> None:
        self._row = row

    def advance(self, note: str = "", rejected: int = 0) -> None:
        self._row.advance(note, rejected)

    def tell(self, note: str) -> None:
        self._row.note = note


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
