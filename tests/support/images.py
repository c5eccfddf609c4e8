"""Images for tests: good ones, damaged ones, and ones made to hurt."""

import io
import struct
import zlib
from random import Random
from typing import Any

from PIL import Image as Pillow

LARGEST_BYTES = 32 * 2**20


def photo(number: int = 0, side: int = 64) -> Pillow.Image:
    """An image with something in it, each number another one."""
    spots = Pillow.frombytes("RGB", (8, 8), Random(number).randbytes(192))
    return spots.resize((side, side), Pillow.Resampling.BICUBIC)


def encoded(image: Pillow.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> bytes:
    return Pillow.open(io.BytesIO(data)).convert("RGB").tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose head promises a size; its body is a few bytes."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(bytes(64))) + png_chunk(b"IEND", b"")


def gif_that_claims(width: int, height: int) -> bytes:
    """A GIF of one small frame on a vast screen."""
    data = bytearray(encoded(photo(), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def with_png_chunk(kind: bytes, data: bytes) -> bytes:
    """A good PNG with one more chunk behind its head."""
    good = encoded(photo(), "PNG")
    return good[:33] + png_chunk(kind, data) + good[33:]


def secrets(orientation: int = 1) -> Pillow.Exif:
    """EXIF with a name, a place, and the way the camera was held."""
    exif = Pillow.Exif()
    exif[0x010E] = "who took it, and where"
    exif[0x0112] = orientation
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    return exif


JPEG, PNG, WEBP, GIF = (encoded(photo(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF"))
_SEE_THROUGH = photo().convert("RGBA")
_SEE_THROUGH.putalpha(Pillow.linear_gradient("L").resize((64, 64)))

# Every one of these is an image, whatever else it is.
USABLE = {
    "JPEG": JPEG,
    "PNG": PNG,
    "WEBP": WEBP,
    "GIF": GIF,
    "progressive JPEG": encoded(photo(), "JPEG", progressive=True),
    "grey JPEG": encoded(photo().convert("L"), "JPEG"),
    "CMYK JPEG": encoded(photo().convert("CMYK"), "JPEG"),
    "JPEG with EXIF": encoded(photo(), "JPEG", exif=secrets()),
    "JPEG on its side": encoded(photo(), "JPEG", exif=secrets(6)),
    "JPEG with a comment": encoded(photo(), "JPEG", comment=b"who took it, and where"),
    "JPEG with a profile": encoded(photo(), "JPEG", icc_profile=b"who took it, and where"),
    "two JPEGs in one": encoded(photo(), "MPO", save_all=True, append_images=[photo(3)]),
    "JPEG and ZIP": JPEG + b"PK\x03\x04 who took it, and where",
    "JPEG and script": JPEG + b"<script>who took it, and where</script>",
    "PNG and ZIP": PNG + b"PK\x03\x04 who took it, and where",
    "PNG with EXIF": encoded(photo(), "PNG", exif=secrets()),
    "PNG with text": with_png_chunk(b"tEXt", b"Author\0who took it, and where"),
    "PNG of 16 bits": encoded(Pillow.new("I;16", (64, 64), 40_000), "PNG"),
    "PNG of 1 bit": encoded(photo().convert("1"), "PNG"),
    "PNG by palette": encoded(photo().quantize(8), "PNG", transparency=0),
    "PNG with alpha": encoded(_SEE_THROUGH, "PNG"),
    "PNG with grey alpha": encoded(_SEE_THROUGH.convert("LA"), "PNG"),
    "moving PNG": encoded(photo(), "PNG", save_all=True, append_images=[photo(3)], duration=100),
    "moving GIF": encoded(photo(), "GIF", save_all=True, append_images=[photo(3)], duration=100),
    "moving WEBP": encoded(photo(), "WEBP", save_all=True, append_images=[photo(3)], duration=100),
    "WEBP with EXIF": encoded(photo(), "WEBP", exif=secrets()),
    "WEBP with alpha": encoded(_SEE_THROUGH, "WEBP", lossless=True),
    "1 x 1": encoded(photo(side=1), "PNG"),
}

# Each with the reason it is refused for.
UNUSABLE = {
    "nothing": (b"", "empty"),
    "text": (b"no image", "undecodable"),
    "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>', "svg"),
    "an SVG with a head": (b'<?xml version="1.0"?>\n<!-- a comment -->\n<SVG width="64" height="64"/>', "svg"),
    "a web page": (b"<!doctype html><html><body>404</body></html>", "undecodable"),
    "a program": (b"MZ" + bytes(200), "undecodable"),
    "a ZIP": (b"PK\x03\x04" + bytes(200), "undecodable"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "undecodable"),
    "half a PNG": (PNG[: len(PNG) // 2], "truncated"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "truncated"),
    "half a GIF": (GIF[: len(GIF) // 2], "truncated"),
    "half a WEBP": (WEBP[: len(WEBP) // 2], "undecodable"),
    "a PNG's head": (PNG[:8], "undecodable"),
    "a PNG that promises more than it holds": (png_that_claims(640, 480), "truncated"),
    "a TIFF": (encoded(photo(), "TIFF"), "undecodable"),
    "a BMP": (encoded(photo(), "BMP"), "undecodable"),
    "an ICO": (encoded(photo(), "ICO"), "undecodable"),
    "a bomb": (png_that_claims(20_000, 20_000), "too_many_pixels"),
    "a bomb just over the cap": (png_that_claims(7_100, 7_100), "too_many_pixels"),
    "a GIF bomb": (gif_that_claims(60_000, 60_000), "too_many_pixels"),
    "a bomb of text": (with_png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24))), "undecodable"),
    "a bomb of a profile": (with_png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**24))), "undecodable"),
    "too long a file": (bytes(LARGEST_BYTES + 1), "too_many_bytes"),
}
