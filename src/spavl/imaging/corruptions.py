"""Noisy and blurred images, at about severity 3 of ImageNet-C's five."""

import io

import numpy as np
from PIL import Image, ImageFilter

# The standard deviation of the noise, on a scale of 255; and the radius of the blur, as a share of the shorter side.
_GRAIN, _BLUR = 46, 1 / 75


def noisy_png(data: bytes, seed: int) -> bytes:
    pixels = np.asarray(_rgb_image(data), dtype=np.float64)
    grain = np.random.default_rng(seed).normal(0, _GRAIN, pixels.shape)
    return _png(Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)))


def blurred_png(data: bytes) -> bytes:
    image = _rgb_image(data)
    return _png(image.filter(ImageFilter.GaussianBlur(max(1.0, min(image.size) * _BLUR))))


def _rgb_image(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as opened:
        return opened.convert("RGB")


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
