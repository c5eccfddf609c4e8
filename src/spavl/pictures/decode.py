"""Decodes pictures of unknown origin: an allow-list of formats, caps on bytes and pixels, first frame only."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

LARGEST_BYTES = 32 * 2**20
LARGEST_PIXELS = 50_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


class Undecodable(Exception):
    """The bytes are no picture that can be used; the message is the reject reason."""


def decode(data: bytes) -> Image.Image:
    """The first frame as RGB, without metadata."""
    if len(data) > LARGEST_BYTES:
        raise Undecodable("too_many_bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=_FORMATS)
            if picture.width * picture.height > LARGEST_PIXELS:
                raise Undecodable("too_many_pixels")
            plain = picture.convert("RGB")
            plain.info.clear()  # which else still holds EXIF, and with it perhaps a name and a place
            return plain
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Undecodable("too_many_pixels") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise Undecodable("undecodable") from None
