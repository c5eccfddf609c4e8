"""The interface of a filter."""

from typing import NamedTuple, Protocol

from PIL import Image


class FilterInput(NamedTuple):
    """A decoded image, and what its source says of it."""

    pixels: Image.Image
    caption: str
    # How well the source holds image and caption to fit.
    similarity: float | None


class ImageFilter(Protocol):
    """`measure` gives a number, stored as `name=number`; an image that `refuses` it is rejected for `reason`."""

    @property
    def name(self) -> str: ...

    @property
    def reason(self) -> str: ...

    def measure(self, seen: FilterInput) -> float: ...

    def refuses(self, measured: float) -> bool: ...
