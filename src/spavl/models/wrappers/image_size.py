"""Limits the size of the images that are sent."""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import replace

from spavl.engine.isolated_resize import smaller_apart
from spavl.imaging.resize import is_larger
from spavl.models.types import ChatModel, ImageData, Message, Reply, Request

# All responders are asked about an image at nearly the same time.
_HELD = 64


class ResizedImages:
    """Makes images smaller, each once for all who ask about it."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, int], asyncio.Task[ImageData]] = OrderedDict()

    async def of(self, image: ImageData, longest_side: int) -> ImageData:
        """The image that is sent. One that is not larger, or that cannot be unpacked, is sent byte for byte."""
        key = image.digest, longest_side
        if key not in self._made:
            self._made[key] = asyncio.create_task(_made(image, longest_side))
            if len(self._made) > _HELD:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        try:
            return await asyncio.shield(self._made[key])
        except Exception:
            # Whoever asks about it next tries again.
            self._made.pop(key, None)
            raise


class ImageSizeLimited:
    """Sends each image with its longer side at most so long."""

    def __init__(self, inner: ChatModel, longest_side: int, smaller: ResizedImages) -> None:
        self.name, self._inner, self._side, self._smaller = inner.name, inner, longest_side, smaller

    async def ask(self, request: Request) -> Reply:
        messages = [await self._limited(message) for message in request.messages]
        return await self._inner.ask(replace(request, messages=tuple(messages)))

    async def _limited(self, message: Message) -> Message:
        if not message.images:
            return message
        images = [await self._smaller.of(image, self._side) for image in message.images]
        return replace(message, images=tuple(images))


async def _made(image: ImageData, longest_side: int) -> ImageData:
    """The ledger knows it by the hash of the image it was made of and of its side, and not by its bytes.

    Another version of the encoder writes other bytes, and no call is to be paid again for that.
    """
    if not is_larger(image.data, longest_side):
        return image
    data = await asyncio.to_thread(smaller_apart, image.data, longest_side)
    # Whether it is an image at all is for its server to say.
    if data is None:
        return image
    return ImageData(hashlib.sha256(f"{image.digest} side {longest_side}".encode()).hexdigest(), data)
