"""How tightly a table is packed: a few thousand bytes may unpack to as many millions, in one value."""

from pathlib import Path
from struct import error as OutOfBounds
from struct import unpack_from
from typing import Any

# Tables of images unpack to hardly more than they take, tables of texts to ten times as much.
_MOST_TIMES = 64
_ALWAYS_ALLOWED = 2**27


class PackedTooTightly(ValueError):
    """A table that is left as it is, for what it would take to unpack it."""


def check_parquet(path: str | Path, metadata: Any) -> None:
    """Refuse a file that unpacks to out of all proportion."""
    unpacked = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if unpacked > max(_ALWAYS_ALLOWED, _MOST_TIMES * Path(path).stat().st_size):
        raise PackedTooTightly(f"{path} unpacks to {unpacked} bytes")


def check_message(message: Any) -> None:
    """Refuse a packed part of an Arrow file: its size is told by nothing but itself, and `datasets` packs none."""
    try:
        packed = _is_packed(memoryview(message.metadata), message.type == "dictionary")
    except OutOfBounds:
        packed = True
    if packed:
        raise PackedTooTightly("an Arrow file with packed parts")


def _is_packed(message: memoryview, dictionary: bool) -> bool:
    """By the format's flatbuffers: a batch is the third field of its message, and its packing the fourth of its own."""
    batch = _led_to(message, _field(message, _led_to(message, 0), 2))
    if dictionary:
        batch = _led_to(message, _field(message, batch, 1))
    return _field(message, batch, 3) != 0


def _field(data: memoryview, table: int, number: int) -> int:
    """Where a field of a table stands; 0 if the table lacks it."""
    fields = table - int(unpack_from("<i", data, table)[0])
    (size,) = unpack_from("<H", data, fields)
    place = 4 + 2 * number
    offset = int(unpack_from("<H", data, fields + place)[0]) if place < size else 0
    return table + offset if offset else 0


def _led_to(data: memoryview, place: int) -> int:
    return place + int(unpack_from("<I", data, place)[0])
