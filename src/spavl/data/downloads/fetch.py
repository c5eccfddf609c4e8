"""Fetches the bytes of a candidate by its source:

| source | is |
| --- | --- |
| `miniature/SEED/LEAF/NUMBER/live` | a rendered scene of the miniature |
| `file:…`, `tar:…`, `parquet:…`, `arrow:…` | on this disk: see `imaging/local.py` |
| `http://…`, `https://…` | a download |
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

from spavl.data.downloads.address_guard import AddressGuard
from spavl.data.downloads.config import FetchConfig
from spavl.data.downloads.download_log import DownloadLog
from spavl.data.downloads.downloader import Downloader
from spavl.data.downloads.row_group_spool import RowGroupSpool
from spavl.imaging.local import is_local, read_local
from spavl.imaging.unfetchable import Unfetchable
from spavl.miniature import world

Fetch = Callable[[str], Awaitable[bytes]]

GUARD = AddressGuard()


@contextlib.asynccontextmanager
async def open_fetch(
    settings: FetchConfig,
    folder: Path,
    at_once: int,
    listed: Callable[[], Iterable[str]] = tuple,
    keeps_images: bool = True,
) -> AsyncIterator[Fetch]:
    """Open a function that returns the bytes of an untrusted image, or raises Unfetchable.

    `listed` returns the sources of all images that will be fetched. `keeps_images`: see `DownloadLog`.
    """
    downloads, cells = DownloadLog(folder, keeps_images), RowGroupSpool(folder, listed)

    async def fetch(source: str) -> bytes:
        if source.startswith("miniature/"):
            return _miniature_png(source)
        if is_local(source):
            return await asyncio.to_thread(read_local, source, cells)
        if not source.startswith(("http:", "https:")):
            raise Unfetchable("refused_scheme")
        if (known := await downloads.get(source)) is not None:
            return known
        try:
            data = await downloader.get(source)
        except Unfetchable as error:
            # Not stored: other settings may allow this address.
            if not error.passing and str(error) != "refused_address":
                downloads.keep_failure(source, str(error))
            raise
        await downloads.keep(source, data)
        return data

    try:
        async with Downloader(settings, GUARD, at_once) as downloader:
            yield fetch
    finally:
        cells.close()
        downloads.close()


def _miniature_png(source: str) -> bytes:
    _, seed, position, number, kind = source.split("/")
    return world.png(world.draw(world.scene(int(position), int(number), int(seed), live=kind == "live")))
