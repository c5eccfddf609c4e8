"""An image in a format that model servers accept: JPEG, PNG, WebP and GIF unchanged, some others as PNG."""

import base64
import contextlib
import io
from functools import lru_cache

from PIL import Image, ImageOps, UnidentifiedImageError

_SENT = ("JPEG", "PNG", "WEBP", "GIF")
# What no server needs to know; PNG holds their pixels without loss, of these modes.
_REWRITTEN = ("TIFF", "BMP", "AVIF")
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_TOLD = 24


class NotSendable(Exception):
    """The bytes are no image that can be shown to a model; the message says why."""


# One image has several questions, which mostly stand together.
@lru_cache(maxsize=16)
def sendable(data: bytes) -> bytes:
    """The bytes of an image that can be read to its end; base64 is taken for what it holds."""
    try:
        return _checked(data)
    except UnidentifiedImageError:
        pass
    except Exception as error:
        # A decoder that meets broken bytes may raise anything.
        raise NotSendable(f"this image cannot be read to its end: {error}") from None
    with contextlib.suppress(Exception):
        return _checked(_in_base64(data))
    if b"<svg" in data[:4096].lower():
        raise NotSendable("this is an SVG, which no server takes; draw it as PNG")
    raise NotSendable(f"these bytes are no image; they begin with {data[:_TOLD]!r}")


def rewritten(data: bytes) -> bytes:
    """The same, unchecked where it stays as it is, for whoever decodes it anyway."""
    with contextlib.suppress(Exception):
        Image.open(io.BytesIO(data), formats=_SENT)
        return data
    return sendable(data)


def _checked(data: bytes) -> bytes:
    # Else only the commonest formats are known.
    Image.init()
    with Image.open(io.BytesIO(data), formats=(*_SENT, *_REWRITTEN)) as image:
        if image.format == "PNG":
            # Its parts come with checksums: nothing need be unpacked.
            image.verify()
            return data
        if image.format not in _REWRITTEN:
            # Of a JPEG all bytes are read, but an eighth of the pixels in each direction is made of them.
            image.draft(image.mode, (1, 1))
            image.load()
            return data
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in _MODES:
            raise ValueError(f"a {image.format} of mode {upright.mode}; write it as PNG")
        buffer = io.BytesIO()
        upright.save(buffer, "PNG")
        return buffer.getvalue()


def _in_base64(data: bytes) -> bytes:
    """What bytes that are base64, or a data URL, hold; lines may be broken in it."""
    text = data.partition(b",")[2] if data.startswith(b"data:") else data
    return base64.b64decode(b"".join(text.split()), validate=True)
