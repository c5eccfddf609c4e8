"""An image with its longer side at most so many pixels."""

import io

from PIL import Image, ImageOps

_FAULTS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def is_larger(data: bytes, longest_side: int) -> bool:
    """Whether an image is larger than that; no pixel is unpacked. Of what is no image, it is not."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return max(image.size) > longest_side
    except _FAULTS:
        return False


def smaller(data: bytes, longest_side: int) -> bytes | None:
    """A smaller one of a larger image; None where it cannot be unpacked."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _shrunk(image, longest_side)
    except _FAULTS:
        return None


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
