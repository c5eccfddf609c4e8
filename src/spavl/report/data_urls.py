"""Images as data URLs, small enough to embed in a page."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

from spavl.errors import StoreError
from spavl.store.blobs import Blobs

_LONGEST_SIDE = 256
# Below this an image is pixel art, and smoothing it would only blur what it shows.
_TINY_SIDE = 96
_KEPT_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    url: str
    pixelated: bool


def embedded_image(blobs: Blobs, digest: str) -> EmbeddedImage | None:
    """The image as a data URL; None if it is missing or unreadable: a report must not fail because of one image."""
    try:
        return embed(blobs.get(digest))
    except (StoreError, OSError, ValueError, Image.DecompressionBombError):
        return None


def embed(data: bytes) -> EmbeddedImage:
    """Small images are embedded byte for byte, larger ones scaled down first."""
    with Image.open(io.BytesIO(data)) as opened:
        tiny = max(opened.size) <= _TINY_SIDE
        media = _KEPT_AS_THEY_ARE.get(opened.format or "")
        if media is not None and max(opened.size) <= _LONGEST_SIDE:
            opened.load()
            return EmbeddedImage(_url(media, data), tiny)
        small = opened.convert("RGB")
    small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=85)
    return EmbeddedImage(_url("image/jpeg", buffer.getvalue()), tiny)


def _url(media: str, data: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(data).decode()}"
