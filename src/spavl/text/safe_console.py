"""Draws with rich so that no content can control the terminal."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment

from spavl.text.safe_print import BAD, FORGING, line


class SafeRenderable:
    """Whatever rich can draw, drawn with no control character but those of rich."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(_plain(segment.text), segment.style)


class SafeConsole(Console):
    """A terminal that draws all it is given in this way."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*map(_shown, objects), **how)


def live(table: RenderableType, console: Console, per_second: float) -> Live:
    return Live(SafeRenderable(table), console=console, refresh_per_second=per_second)


def _shown(given: Any) -> Any:
    # A text has the keys taken out while it is whole; drawn, it may be broken anywhere.
    return line(given) if isinstance(given, str) else SafeRenderable(given)


def _plain(text: str) -> str:
    # What breaks a line of its own is drawn as one; rich has broken them where it draws.
    return FORGING.sub(BAD, text)
