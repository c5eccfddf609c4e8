"""Draws with rich so that no content can control the terminal."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment

from spavl.text.safe_print import BAD, FORGING, line


class SafeRenderable:
    """Wraps what rich can draw, so that it contains no control characters but rich's own."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(_plain(segment.text), segment.style)


class SafeConsole(Console):
    """A console that prints everything without control characters of the content."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*map(_safe_renderable, objects), **how)


def live(table: RenderableType, console: Console, per_second: float) -> Live:
    return Live(SafeRenderable(table), console=console, refresh_per_second=per_second)


def _safe_renderable(given: Any) -> Any:
    # Keys are removed from the whole text: rich may break a drawn text inside a key.
    return line(given) if isinstance(given, str) else SafeRenderable(given)


def _plain(text: str) -> str:
    # FORGING does not match newlines: those are the line breaks of rich.
    return FORGING.sub(BAD, text)
