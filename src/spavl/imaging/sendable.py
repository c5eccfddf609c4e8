"""An image in a format that model servers accept: JPEG, PNG, WebP and GIF unchanged, some others as PNG."""

import base64
import contextlib
import io
from functools import lru_cache

from PIL import Image, ImageOps, UnidentifiedImageError

_SENT = ("JPEG", "PNG", "WEBP", "GIF")
# Formats that a server may not support. In these modes, PNG stores their pixels without loss.
_REWRITTEN = ("TIFF", "BMP", "AVIF")
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_TOLD = 24


class NotSendable(Exception):
    """The bytes are not an image that can be sent to a model; the message says why."""


# An image has several questions, mostly one after the other.
@lru_cache(maxsize=16)
def sendable(data: bytes) -> bytes:
    """The image as servers accept it; raises NotSendable if it cannot be decoded. Decodes base64 and data URLs."""
    try:
        return _sendable_bytes(data)
    except UnidentifiedImageError:
        pass
    except Exception as error:
        # A decoder that meets broken bytes may raise anything.
        raise NotSendable(f"this image cannot be read to its end: {error}") from None
    with contextlib.suppress(Exception):
        return _sendable_bytes(_in_base64(data))
    if b"<svg" in data[:4096].lower():
        raise NotSendable("this is an SVG, which no server takes; draw it as PNG")
    raise NotSendable(f"these bytes are no image; they begin with {data[:_TOLD]!r}")


def rewritten(data: bytes) -> bytes:
    """Like `sendable`, but an image that stays unchanged is not checked, for callers that decode it anyway."""
    with contextlib.suppress(Exception):
        Image.open(io.BytesIO(data), formats=_SENT)
        return data
    return sendable(data)


def _sendable_bytes(data: bytes) -> bytes:
    # Without this, Pillow knows only the most common formats.
    Image.init()
    with Image.open(io.BytesIO(data), formats=(*_SENT, *_REWRITTEN)) as image:
        if image.format == "PNG":
            # PNG chunks have checksums: nothing needs to be decompressed.
            image.verify()
            return data
        if image.format not in _REWRITTEN:
            # All bytes of a JPEG are read, but it is decoded at an eighth of its size.
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
    """Decode base64 or a data URL, which may contain line breaks."""
    text = data.partition(b",")[2] if data.startswith(b"data:") else data
    return base64.b64decode(b"".join(text.split()), validate=True)
