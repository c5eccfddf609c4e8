"""The live table of a running command: stages, servers, cost."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from spavl.text.safe_print import line

_BAR = 24
# On a narrower terminal the bar is short, so that counts, rate and time left are not cut off.
_WIDE, _SHORT_BAR = 110, 8
# The rate is measured over the last seconds, so that it is right for a resumed run and one that slows down.
_WINDOW = 20.0


class ServerStatus(NamedTuple):
    """The state of the calls to a server."""

    name: str
    in_flight: int
    at_once: int
    answered: int
    throttled: int
    failed: int
    # Seconds since it stopped answering; 0 while it answers.
    away: float = 0.0


class Spending(NamedTuple):
    spent: float
    # The likely cost of the whole run; None if unknown.
    projected: float | None
    stop: float | None


@dataclass
class LiveStageRow:
    """The progress of a stage: `total` is None until it starts, and `over` is empty until it has finished."""

    name: str
    done: int = 0
    total: int | None = None
    rejected: int = 0
    note: str = ""
    unit: str = "rows"
    over: str = ""
    # Whether it is a part of a stage, such as the scoring of the reference in training.
    inner: bool = False
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self, total: int, done: int, unit: str) -> None:
        self.total, self.done, self.unit = total, done, unit
        self.seen = deque([(time.monotonic(), done)])

    def advance(self, note: str, rejected: int) -> None:
        self.done += 1
        self.rejected += rejected
        self.note = note
        now = time.monotonic()
        if now - self.seen[-1][0] >= 1.0:
            self.seen.append((now, self.done))
            while now - self.seen[0][0] > _WINDOW and len(self.seen) > 2:
                self.seen.popleft()

    def rate(self) -> float:
        then, before = self.seen[0] if self.seen else (time.monotonic(), self.done)
        passed = time.monotonic() - then
        return (self.done - before) / passed if passed > 0 else 0.0


class LiveTable:
    """The table, which is redrawn several times a second."""

    def __init__(
        self, title: str, names: Iterable[str], look: Callable[[], tuple[Sequence[ServerStatus], Spending]]
    ) -> None:
        self.rows = {name: LiveStageRow(name) for name in names}
        self._title, self._look, self._began = line(title), look, time.monotonic()
        self._spinner = Spinner("dots", style="cyan")

    def row(self, name: str) -> LiveStageRow:
        """The row of a stage, or of a part of the running stage."""
        if name not in self.rows:
            self.rows[name] = LiveStageRow(name, inner=True)
        return self.rows[name]

    def running(self) -> LiveStageRow | None:
        return next((row for row in self.rows.values() if row.total is not None and not row.over), None)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        servers, money = self._look()
        title = Text.assemble((self._title, "bold"), ("  " + _clock(time.monotonic() - self._began), "dim"))
        is_wide = options.max_width >= _WIDE
        parts: list[RenderableType] = [Text(), title, Text(), self._stages(is_wide), *self._notes(is_wide)]
        if asked := [server for server in servers if server.answered or server.in_flight or server.failed]:
            parts += [Text(), *map(_server_line, asked)]
        if money.spent or money.projected or money.stop is not None:
            parts += [Text(), _money(money)]
        yield from (*parts, Text())

    def _stages(self, is_wide: bool) -> Table:
        table = Table.grid(padding=(0, 1), expand=False)
        bar = _BAR if is_wide else _SHORT_BAR
        for column in ("mark", "name", "bar", "count", "rate", "left", *(["rejected"] if is_wide else [])):
            right = column in ("count", "rate", "left")
            table.add_column(
                justify="right" if right else "left", no_wrap=True, min_width=bar if column == "bar" else None
            )
        for row in self.rows.values():
            if not (row.inner and row.over):
                table.add_row(*self._cells(row, bar)[: len(table.columns)])
        return table

    def _notes(self, is_wide: bool) -> Iterator[RenderableType]:
        """The stages' notes, below the table: they may be long, and would take the space of other columns."""
        for row in self.rows.values():
            rejected = f"{row.rejected:,} rejected" if row.rejected and not is_wide else ""
            note = row.note if row.total is not None and not row.over else ""
            if told := "; ".join(filter(None, (rejected, note))):
                yield Padding(Text(line(f"{row.name}: {told}"), "dim"), (0, 0, 0, 2))

    def _cells(self, row: LiveStageRow, width: int) -> Sequence[RenderableType]:
        rejected = Text(f"{row.rejected:,} rejected" if row.rejected else "", "yellow")
        if row.over:
            name = Text(line(row.name))
            return Text("✓", "green"), name, Text(line(row.over), "dim"), Text(f"{row.done:,}"), "", "", rejected
        if row.total is None:
            return "", Text(line(row.name), "dim"), "", "", "", "", ""
        rate = row.rate()
        left = Text(_clock((row.total - row.done) / rate) + " left" if rate > 0 else "", "cyan")
        bar = ProgressBar(row.total or 1, row.done, width=width, complete_style="cyan", finished_style="green")
        count = Text(f"{row.done:,}/{row.total:,}")
        name = Text(line(row.name), "dim" if row.inner else "bold")
        mark: RenderableType = "" if row.inner else self._spinner
        return mark, name, bar, count, Text(line(_rate(rate, row.unit)), "dim"), left, rejected


def _server_line(server: ServerStatus) -> RenderableType:
    text = Text.assemble(line(server.name), f"  {server.in_flight} of {server.at_once} in flight")
    text.append(f", {server.answered:,} answered", "dim")
    if server.away:
        text.append(f", waited for, no answer for {_clock(server.away)}", "red")
    if server.throttled:
        text.append(f", {server.throttled:,} × 429", "yellow")
    if other := server.failed - server.throttled:
        text.append(f", {other:,} other faults, asked again", "yellow")
    return Padding(text, (0, 0, 0, 2))


def _money(money: Spending) -> Text:
    text = Text.assemble("  ", (f"{money.spent:,.2f} USD", "bold"), " spent")
    if money.projected is not None:
        text.append(f", about {money.projected:,.2f} at the end")
    if money.stop is not None:
        near = money.projected is not None and money.projected > money.stop
        text.append(f", never more than {money.stop:,.2f}", "yellow" if near else "dim")
    return text


def _rate(rate: float, unit: str) -> str:
    return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.1f} {unit}/s" if rate > 0 else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
