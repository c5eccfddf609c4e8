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
    """Resizes images and caches the results, since many requests have the same image."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, int], asyncio.Task[ImageData]] = OrderedDict()

    async def of(self, image: ImageData, longest_side: int) -> ImageData:
        """The image to send. It is unchanged if it is small enough or cannot be decoded."""
        key = image.digest, longest_side
        if key not in self._made:
            self._made[key] = asyncio.create_task(_resize_image(image, longest_side))
            if len(self._made) > _HELD:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        try:
            return await asyncio.shield(self._made[key])
        except Exception:
            # The next request with this image tries again.
            self._made.pop(key, None)
            raise


class ImageSizeLimited:
    """Limits the longer side of each image that is sent."""

    def __init__(self, inner: ChatModel, longest_side: int, smaller: ResizedImages) -> None:
        self.name, self._inner, self._side, self._smaller = inner.name, inner, longest_side, smaller

    async def ask(self, request: Request) -> Reply:
        messages = [await self._with_smaller_images(message) for message in request.messages]
        return await self._inner.ask(replace(request, messages=tuple(messages)))

    async def _with_smaller_images(self, message: Message) -> Message:
        if not message.images:
            return message
        images = [await self._smaller.of(image, self._side) for image in message.images]
        return replace(message, images=tuple(images))


async def _resize_image(image: ImageData, longest_side: int) -> ImageData:
    """Resize an image. Its digest is a hash of the original's digest and the side, and not of the new bytes.

    Another version of the encoder writes other bytes, which must not change ledger keys, or calls would be paid again.
    """
    if not is_larger(image.data, longest_side):
        return image
    data = await asyncio.to_thread(smaller_apart, image.data, longest_side)
    # Not decodable: the server decides whether it accepts the image.
    if data is None:
        return image
    return ImageData(hashlib.sha256(f"{image.digest} side {longest_side}".encode()).hexdigest(), data)
