"""The one way to a terminal for lines of text: nothing in them can move its cursor, fill its clipboard or add a line.

What is shown may have been written by a server, a file's name, a taxonomy or a model's name.
"""

import re
from collections.abc import Iterator
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment

from spavl.secrets import without_keys, without_userinfo

# Control characters, marks that end a line or turn the direction of the text around them, and halves of characters.
FORGING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_BAD = "\ufffd"


def line(text: str) -> str:
    """A text as one line that can do nothing but be read. Keys and passwords that are known are left out."""
    return FORGING.sub(_BAD, _BREAKS.sub(" ", without_userinfo(without_keys(text)))).expandtabs(4)


def tell(*lines: str, file: TextIO | None = None) -> None:
    """Print each as one line of its own."""
    for each in lines:
        print(line(each), file=file)


class Shown:
    """Whatever rich can draw, drawn with no control character but those of rich."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(_plain(segment.text), segment.style)


class ShownConsole(Console):
    """A terminal that draws all it is given in this way."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*map(_shown, objects), **how)


def live(table: RenderableType, console: Console, per_second: float) -> Live:
    return Live(Shown(table), console=console, refresh_per_second=per_second)


def _shown(given: Any) -> Any:
    # A text has the keys taken out while it is whole; drawn, it may be broken anywhere.
    return line(given) if isinstance(given, str) else Shown(given)


def _plain(text: str) -> str:
    # What breaks a line of its own is drawn as one; rich has broken them where it draws.
    return FORGING.sub(_BAD, text)
