"""Limits the longer side of an image."""

import contextlib
import io
import warnings
from collections.abc import Iterator

from PIL import Image, ImageOps

from spavl.imaging.decode import encode_pixels, plain_pixels


def is_larger(data: bytes, longest_side: int) -> bool:
    """Whether the longer side of an image exceeds `longest_side`, by its header. False if it is not an image."""
    with _whatever_the_file(), Image.open(io.BytesIO(data)) as image:
        return max(image.size) > longest_side
    return False


def smaller(data: bytes, longest_side: int) -> bytes | None:
    """The image resized to `longest_side`, upright, on white; None if it cannot be decoded."""
    with _whatever_the_file(), Image.open(io.BytesIO(data)) as image:
        # A JPEG is decoded at half, a quarter or an eighth of its size if that is still large enough.
        image.draft(None, (longest_side, longest_side))
        pixels = plain_pixels(ImageOps.exif_transpose(image))
        scale = longest_side / max(pixels.size)
        width, height = (max(1, round(side * scale)) for side in pixels.size)
        return encode_pixels(pixels.resize((width, height), Image.Resampling.LANCZOS), str(image.format))
    return None


@contextlib.contextmanager
def _whatever_the_file() -> Iterator[None]:
    """Suppress errors, since a decoder may raise any, and warnings, which do not concern the user."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        yield
