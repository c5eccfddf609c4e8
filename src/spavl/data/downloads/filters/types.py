"""The interface of a filter."""

from typing import Literal, NamedTuple, Protocol, runtime_checkable

from PIL import Image

# What happens to an image with a face or with personal data: the regions are covered, or the image is rejected.
RegionAction = Literal["count", "blur", "drop"]


class FilterInput(NamedTuple):
    """A decoded image with its source's metadata."""

    pixels: Image.Image
    caption: str
    # Similarity of image and caption by the source; None if it states none.
    similarity: float | None


class Box(NamedTuple):
    """A rectangle in an image, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two share any pixel."""
        is_beside = self.right <= other.left or other.right <= self.left
        return not (is_beside or self.bottom <= other.top or other.bottom <= self.top)

    def with_margin(self, share: float, size: tuple[int, int]) -> "Box":
        """Larger on each side by a share of the longer side, within an image of this size."""
        more = share * max(self.right - self.left, self.bottom - self.top)
        width, height = size
        return Box(
            max(0.0, self.left - more),
            max(0.0, self.top - more),
            min(float(width), self.right + more),
            min(float(height), self.bottom + more),
        )


class ImageFilter(Protocol):
    """`measure` returns a number, stored as `name=number`. `refuses` decides on it; `reason` is the reject reason."""

    @property
    def name(self) -> str: ...

    @property
    def reason(self) -> str: ...

    def measure(self, seen: FilterInput) -> float: ...

    def refuses(self, measured: float) -> bool: ...


@runtime_checkable
class RegionFilter(ImageFilter, Protocol):
    """A filter that may have regions of the image covered before it is stored."""

    def regions(self, seen: FilterInput) -> list[Box]: ...
