"""Images are sent no larger than models look at them."""

import functools
import hashlib
import io
from dataclasses import replace

from PIL import Image, ImageOps

from spavl.models.types import ChatModel, Message, Picture, Reply, Request

# All responders are asked about an image at nearly the same time.
_HELD = 64


class SidesLimited:
    """Sends each image with its longer side at most so long. One that is not longer is sent as it is, byte for byte."""

    def __init__(self, inner: ChatModel, longest_side: int) -> None:
        self.name, self._inner, self._side = inner.name, inner, longest_side

    async def ask(self, request: Request) -> Reply:
        return await self._inner.ask(replace(request, messages=tuple(map(self._limited, request.messages))))

    def _limited(self, message: Message) -> Message:
        if not message.pictures:
            return message
        return replace(message, pictures=tuple(limited(picture, self._side) for picture in message.pictures))


@functools.lru_cache(maxsize=_HELD)
def limited(picture: Picture, longest_side: int) -> Picture:
    """The image that is sent, once for all who ask about it.

    The ledger knows it by the hash of the image it was made of and of its side, and not by its bytes: another version
    of the encoder writes other bytes, and no call is to be paid again for that.
    """
    try:
        with Image.open(io.BytesIO(picture.data)) as image:
            if max(image.size) <= longest_side:
                return picture
            data = _shrunk(image, longest_side)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # Whether it is an image at all is for its server to say.
        return picture
    return Picture(hashlib.sha256(f"{picture.digest} side {longest_side}".encode()).hexdigest(), data)


def _shrunk(image: Image.Image, longest_side: int) -> bytes:
    is_exact = image.format in ("PNG", "GIF", "BMP")
    # A JPEG is decoded to half, a quarter or an eighth of its size where that is still enough.
    image.draft(None, (longest_side, longest_side))
    upright = ImageOps.exif_transpose(image)
    plain = upright if upright.mode in ("RGB", "L") else _plain(upright)
    scale = longest_side / max(plain.size)
    width, height = (max(1, round(side * scale)) for side in plain.size)
    small = plain.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if is_exact:
        small.save(buffer, "PNG")
    else:
        small.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _plain(image: Image.Image) -> Image.Image:
    """On white where it is see-through, as people see it."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    shown = Image.new("RGBA", layer.size, "white")
    shown.alpha_composite(layer)
    return shown.convert("RGB")
