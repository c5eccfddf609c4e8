"""Decodes images of unknown origin: an allow-list of formats, caps on bytes and pixels, first frame only."""

import io
import warnings
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

from spavl.imaging.strip_metadata import clean_jpeg, clean_png

LARGEST_BYTES = 32 * 2**20
LARGEST_PIXELS = 50_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_NAMED = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP"}
# File extensions of formats that are not decoded. A name without a known extension is accepted with any format.
_NAMED |= {".gif": "GIF", ".svg": "SVG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF"}
_ORIENTATION = 0x0112


class Undecodable(Exception):
    """The bytes are not a usable image; the message is the reject reason."""


class DecodedImage(NamedTuple):
    """The pixels of an image, and a file with these pixels and no metadata."""

    pixels: Image.Image
    data: bytes


def decode(data: bytes, name: str = "") -> DecodedImage:
    """The first frame, upright, as RGB on white. Raises Undecodable if `name` has the extension of another format."""
    if not data:
        raise Undecodable("empty")
    if len(data) > LARGEST_BYTES:
        raise Undecodable("too_many_bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decode(data, name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Undecodable("too_many_pixels") from None
    except (Undecodable, MemoryError):
        raise
    except UnidentifiedImageError:
        raise Undecodable("svg" if b"<svg" in data[:4096].lower() else "undecodable") from None
    except Exception as error:
        # A decoder may raise any error on malicious bytes.
        raise Undecodable("truncated" if "truncated" in str(error).lower() else "undecodable") from None


def _decode(data: bytes, name: str) -> DecodedImage:
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    # A JPEG with a second image behind the first is called an MPO.
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    if _NAMED.get(PurePosixPath(name).suffix.lower(), kind) != kind:
        raise Undecodable("wrong_extension")
    if image.width * image.height > LARGEST_PIXELS:
        raise Undecodable("too_many_pixels")
    image.load()
    turned = image.getexif().get(_ORIENTATION, 1) != 1
    clean = None if turned else _clean(image, kind, data)
    pixels = plain_pixels(ImageOps.exif_transpose(image) if turned else image)
    return DecodedImage(pixels, clean or encode_pixels(pixels, kind))


def plain_pixels(image: Image.Image) -> Image.Image:
    """The image in 8-bit RGB, on white if it has transparency, and without metadata."""
    if image.mode in ("I", "I;16", "I;16B"):
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    elif image.has_transparency_data:
        # A viewer does not show the colours of transparent pixels, so a model must not be shown them either.
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    plain = image if image.mode == "RGB" else image.convert("RGB")
    plain.info.clear()
    return plain


def _clean(image: Image.Image, kind: str, data: bytes) -> bytes | None:
    """The given bytes without metadata; None if the pixels have to be converted or the file cannot be copied."""
    if image.mode not in ("RGB", "L") or image.has_transparency_data:
        return None
    if kind == "JPEG":
        return clean_jpeg(data)
    eight_bits = data[24:25] == b"\x08"
    return clean_png(data) if kind == "PNG" and eight_bits else None


def kind_of(data: bytes) -> str:
    """The kind of a file that `decode` has made, for `encode_pixels`."""
    return "PNG" if data.startswith(b"\x89PNG") else "JPEG"


def encode_pixels(pixels: Image.Image, kind: str) -> bytes:
    """The pixels as a new file: PNG if the original format is lossless, else JPEG of high quality."""
    buffer = io.BytesIO()
    if kind in ("PNG", "GIF", "BMP", "TIFF"):
        pixels.save(buffer, "PNG")
    else:
        pixels.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
