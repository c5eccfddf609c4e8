"""The interface of a filter."""

from typing import NamedTuple, Protocol

from PIL import Image


class FilterInput(NamedTuple):
    """A decoded image with its source's metadata."""

    pixels: Image.Image
    caption: str
    # Similarity of image and caption by the source; None if it states none.
    similarity: float | None


class ImageFilter(Protocol):
    """`measure` returns a number, stored as `name=number`. `refuses` decides on it; `reason` is the reject reason."""

    @property
    def name(self) -> str: ...

    @property
    def reason(self) -> str: ...

    def measure(self, seen: FilterInput) -> float: ...

    def refuses(self, measured: float) -> bool: ...
