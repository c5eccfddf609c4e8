"""Embeds a catalogue's captions, or its images.

Sandboxed workers decode the untrusted images and return only pixels of the size that the model takes.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

import numpy as np

from spavl.data.sourcing.readers.embeddings import EmbeddingFiles
from spavl.data.sourcing.readers.entry import SourceEntry
from spavl.data.sourcing.vectors import StoredVector, VectorStore
from spavl.engine import WorkerDeath, WorkerLimits, Workers, map_shards, open_workers
from spavl.engine.isolated_cells import IsolatedCells
from spavl.imaging.clip import Clip, Vector
from spavl.imaging.clip_preprocess import ClipPreprocess, Pixels, resize_and_crop
from spavl.imaging.decode import Undecodable, decode
from spavl.imaging.local import cell_at, is_local, read_local
from spavl.imaging.sentences import SentenceModel
from spavl.imaging.unfetchable import Unfetchable
from spavl.terminal.progress import Screen

NOT_AT_HAND = "no_image_at_hand"
_TEXTS_AT_ONCE, _IMAGES_AT_ONCE = 256, 64
# The model embeds one group while the next is prepared.
_GROUPS_IN_FLIGHT = 2
# Images in memory at the same time; each has up to 32 MB.
_READ_AT_ONCE = 32
_LIMITS = WorkerLimits(seconds=60, memory=4 * 2**30)

Group = list[tuple[int, SourceEntry]]
Embed = Callable[[Group], Awaitable[list[StoredVector]]]


async def embed_captions(vectors: VectorStore, model: Clip | SentenceModel, screen: Screen, total: int) -> None:
    async def embed(group: Group) -> list[StoredVector]:
        found = await asyncio.to_thread(model.texts, [entry.caption for _, entry in group])
        return [StoredVector(number, _vector_bytes(vector)) for (number, _), vector in zip(group, found, strict=True)]

    await _fill(vectors, embed, screen, total, _TEXTS_AT_ONCE, captioned=True)


async def embed_images(vectors: VectorStore, clip: Clip, screen: Screen, total: int) -> None:
    """Embed the images on this disk, and take the vectors that are stored beside a table."""
    ready, one_at_a_time = EmbeddingFiles(clip.size), asyncio.Lock()
    async with _open_shaping(clip.form) as shape:

        async def embed(group: Group) -> list[StoredVector]:
            made = {number: ready.get(entry.vector) for number, entry in group if entry.vector}
            rest = [(number, entry.source) for number, entry in group if not entry.vector]
            found = await asyncio.gather(*(shape(source) for _, source in rest))
            looks = {number: look for (number, _), look in zip(rest, found, strict=True)}
            fit = {number: look for number, look in looks.items() if not isinstance(look, str)}
            if fit:
                async with one_at_a_time:
                    made |= zip(fit, await asyncio.to_thread(clip.images, list(fit.values())), strict=True)
            return [_stored_vector(number, made.get(number), looks.get(number)) for number, _ in group]

        await _fill(vectors, embed, screen, total, _IMAGES_AT_ONCE, captioned=False)


async def _fill(
    vectors: VectorStore, embed: Embed, screen: Screen, total: int, at_once: int, *, captioned: bool
) -> None:
    with screen.bar("vectors", total, vectors.dealt_with(), unit="vectors") as bar:
        groups = vectors.missing(at_once, captioned)
        async with aclosing(map_shards(groups, embed, _GROUPS_IN_FLIGHT)) as results:
            async for _, kept in results:
                vectors.keep(kept)
                for row in kept:
                    bar.advance(rejected=row.vector is None)


def _stored_vector(number: int, vector: Vector | None, look: Pixels | str | None) -> StoredVector:
    if vector is not None:
        return StoredVector(number, _vector_bytes(vector))
    return StoredVector(number, None, look if isinstance(look, str) else "broken_embedding")


def _vector_bytes(vector: Vector) -> bytes:
    return vector.astype(np.float16).tobytes()


@contextlib.asynccontextmanager
async def _open_shaping(form: ClipPreprocess) -> AsyncIterator[Callable[[str], Awaitable[Pixels | str]]]:
    """Open a function that returns a source's image preprocessed for the model, or the reason why there is none."""
    cells, turns, in_order = IsolatedCells(), asyncio.Semaphore(_READ_AT_ONCE), asyncio.Lock()
    async with open_workers("asyncio", functools.partial(shaped_all, form), 0, _LIMITS) as workers:

        async def shape(source: str) -> Pixels | str:
            if not is_local(source):
                return NOT_AT_HAND
            async with turns:
                # If its cells are read in order, a large table is read only once.
                async with in_order if cell_at(source) else contextlib.nullcontext():
                    data = await asyncio.to_thread(_bytes_or_reason, source, cells)
                return data if isinstance(data, str) else await _looked_at(data, workers)

        yield shape


def _bytes_or_reason(source: str, cells: IsolatedCells) -> bytes | str:
    try:
        return read_local(source, cells)
    except Unfetchable as error:
        return str(error)


async def _looked_at(data: bytes, workers: Workers) -> Pixels | str:
    look: Pixels | str | WorkerDeath = await workers(data)
    return look.reason if isinstance(look, WorkerDeath) else look


def shaped_all(form: ClipPreprocess, shard: Sequence[bytes]) -> list[Pixels | str]:
    """Runs in a worker: each image preprocessed for the model, or the reason why it cannot be decoded."""
    return [_pixels_or_fault(form, data) for data in shard]


def _pixels_or_fault(form: ClipPreprocess, data: bytes) -> Pixels | str:
    try:
        return resize_and_crop(decode(data).pixels, form)
    except Undecodable as error:
        return str(error)
