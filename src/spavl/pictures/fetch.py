"""The bytes of a candidate, by its source alone.

| source | is |
| --- | --- |
| `miniature/SEED/LEAF/NUMBER/live` | a scene of the miniature, drawn |
| `file:PATH` | a file |
| `tar:PATH#MEMBER@OFFSET+SIZE` | a member of an unpacked tar, and where its bytes lie |
| `parquet:PATH#COLUMN/ROW` | a cell of a Parquet table |
| `http://…`, `https://…` | a download |
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from spavl.miniature import world
from spavl.pictures.cells import Cells
from spavl.pictures.config import DownloadsConfig
from spavl.pictures.decode import LARGEST_BYTES
from spavl.pictures.download import Downloader
from spavl.pictures.downloads import Downloads
from spavl.pictures.guard import Guard
from spavl.pictures.unfetchable import Unfetchable

Fetch = Callable[[str], Awaitable[bytes]]

GUARD = Guard()


@contextlib.asynccontextmanager
async def open_fetch(settings: DownloadsConfig, folder: Path, at_once: int) -> AsyncIterator[Fetch]:
    """A function that gives the bytes of a picture of unknown origin, or raises Unfetchable."""
    downloads, cells = Downloads(folder), Cells()

    async def fetch(source: str) -> bytes:
        if source.startswith("miniature/"):
            return _drawn(source)
        scheme, _, rest = source.partition(":")
        if scheme == "file":
            return await asyncio.to_thread(_read, rest, 0, None)
        if scheme == "tar":
            return await asyncio.to_thread(_member, rest)
        if scheme == "parquet":
            path, _, cell = rest.rpartition("#")
            column, _, row = cell.rpartition("/")
            return await asyncio.to_thread(cells.get, path, column, row)
        if scheme not in ("http", "https"):
            raise Unfetchable("refused_scheme")
        if (known := await downloads.get(source)) is not None:
            return known
        try:
            data = await downloader.get(source)
        except Unfetchable as error:
            if not error.passing:
                downloads.keep_failure(source, str(error))
            raise
        await downloads.keep(source, data)
        return data

    try:
        async with Downloader(settings, GUARD, at_once) as downloader:
            yield fetch
    finally:
        downloads.close()


def _drawn(source: str) -> bytes:
    _, seed, position, number, kind = source.split("/")
    return world.png(world.draw(world.scene(int(position), int(number), int(seed), live=kind == "live")))


def _member(place: str) -> bytes:
    path, _, member = place.partition("#")
    try:
        offset, size = map(int, member.rpartition("@")[2].split("+"))
    except ValueError:
        raise Unfetchable("bad_source") from None
    return _read(path, offset, size)


def _read(path: str, offset: int, size: int | None) -> bytes:
    try:
        with Path(path).open("rb") as opened:
            opened.seek(offset)
            data = opened.read(LARGEST_BYTES + 1 if size is None else min(size, LARGEST_BYTES + 1))
    except (OSError, ValueError):
        raise Unfetchable("unreadable") from None
    if len(data) > LARGEST_BYTES:
        raise Unfetchable("too_many_bytes")
    if size is not None and len(data) < size:
        raise Unfetchable("truncated")
    return data
