"""Images of one colour, for questions without a real image."""

import io

from PIL import Image

_GREY = (128, 128, 128)


def plain(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), _GREY).save(buffer, format="PNG")
    return buffer.getvalue()
