"""The number of tokens of an image, by model.

The rules are those that the model's makers publish. Without a rule, `UNKNOWN` tokens per image are
assumed, and cost estimates say so.
"""

import functools
import io
import math
import re
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from spavl.models.types import ImageData

UNKNOWN = 1024
# The tokens per image that a budget reserves for a model without a rule: high-resolution models use up to this many.
_UNKNOWN_MOST = 4096
# The size that is assumed if the header of an image cannot be read.
_USUAL_SIZE = (1024, 1024)


def _tiles(base: int, tile: int) -> Callable[[int, int], int]:
    """OpenAI's rule: fit into 2048, scale the shorter side to 768 at most, then count tiles of 512."""

    def cost(width: int, height: int) -> int:
        scale = min(1.0, 2048 / max(width, height))
        scale = min(scale, 768 / min(width, height))
        return base + tile * math.ceil(width * scale / 512) * math.ceil(height * scale / 512)

    return cost


def _patches(factor: float, side: int = 32, most: int = 1536) -> Callable[[int, int], int]:
    def cost(width: int, height: int) -> int:
        return math.ceil(factor * min(most, math.ceil(width / side) * math.ceil(height / side)))

    return cost


def _always(tokens: int) -> Callable[[int, int], int]:
    return lambda width, height: tokens


def _anyres(width: int, height: int) -> int:
    """LLaVA-NeXT: the whole image, and up to four tiles of 336."""
    return 576 * (1 + min(4, math.ceil(width / 336) * math.ceil(height / 336))) + 24


_RULES: tuple[tuple[str, Callable[[int, int], int]], ...] = (
    (r"gpt-4o-mini", _tiles(2833, 5667)),
    (r"gpt-(4\.1|5)-mini|o4-mini", _patches(1.72)),
    (r"gpt-(4\.1|5)-nano", _patches(2.46)),
    (r"gpt-5", _tiles(70, 140)),
    (r"o[13](-|$)", _tiles(75, 150)),
    (r"gpt-4o|gpt-4\.1|gpt-4\.5|gpt-4-turbo|gpt-4-vision", _tiles(85, 170)),
    (r"qwen3-vl", _patches(1.0, side=32, most=16384)),
    (r"qwen2(\.5)?-vl|qwen2\.5-omni", _patches(1.0, side=28, most=16384)),
    (r"llava-(v1\.6|next|onevision)", _anyres),
    (r"llava", _always(576)),
    (r"internvl", lambda width, height: 256 * (1 + min(12, math.ceil(width / 448) * math.ceil(height / 448)))),
    (r"gemma-3", _always(256)),
    (r"gemini", lambda width, height: 258 * math.ceil(width / 768) * math.ceil(height / 768)),
    (r"pixtral|mistral", _patches(1.05, side=16, most=4096)),
    (r"llama-(3\.2|guard-3)-.*vision", _always(1601)),
    (r"claude", lambda width, height: min(1640, math.ceil(width * height / 750))),
)


class ImageTokenCount(NamedTuple):
    likely: int
    most: int


def knows(model: str) -> bool:
    """Whether there is a rule for this model."""
    return _rule(model) is not None


def tokens_of(image: ImageData, model: str) -> ImageTokenCount:
    rule = _rule(model)
    if rule is None:
        return ImageTokenCount(UNKNOWN, _UNKNOWN_MOST)
    return ImageTokenCount(*[rule(*_size(image.data))] * 2)


@functools.cache
def _rule(model: str) -> Callable[[int, int], int] | None:
    return next((rule for pattern, rule in _RULES if re.search(pattern, model.lower())), None)


# Few, since they hold the images: one is shown to many models in turn.
@functools.lru_cache(maxsize=16)
def _size(data: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            return max(1, width), max(1, height)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return _USUAL_SIZE


@functools.cache
def stand_in(width: int, height: int) -> ImageData:
    """A blank image of this size, in place of one that is not downloaded yet."""
    stream = io.BytesIO()
    Image.new("1", (width, height)).save(stream, "PNG")
    return ImageData.of(stream.getvalue())
