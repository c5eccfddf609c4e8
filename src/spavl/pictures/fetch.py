"""The bytes of a candidate, by its source alone."""

from pathlib import Path

from spavl.miniature import world
from spavl.pictures.decode import LARGEST_BYTES


class Unfetchable(Exception):
    """The bytes cannot be had; the message is the reject reason."""


async def fetch(source: str) -> bytes:
    """The bytes of a picture of unknown origin."""
    if source.startswith("miniature/"):
        return _drawn(source)
    scheme, _, rest = source.partition(":")
    if scheme == "file":
        return _read(Path(rest))
    raise Unfetchable("unknown_scheme")


def _drawn(source: str) -> bytes:
    _, seed, position, number, kind = source.split("/")
    return world.png(world.draw(world.scene(int(position), int(number), int(seed), live=kind == "live")))


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST_BYTES + 1)
    except OSError:
        raise Unfetchable("unreadable") from None
    if len(data) > LARGEST_BYTES:
        raise Unfetchable("too_many_bytes")
    return data
