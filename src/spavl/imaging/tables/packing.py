"""Refuses decompression bombs: a few thousand bytes of a table may decompress to gigabytes, in one value."""

from collections.abc import Iterator
from pathlib import Path
from struct import error as OutOfBounds
from struct import unpack_from
from typing import Any

# Tables of images hardly grow when decompressed, tables of texts by a factor of ten.
_MOST_TIMES = 64
_ALWAYS_ALLOWED = 2**27


class PackedTooTightly(ValueError):
    """A table is not read, because decompressing it would take too much memory."""


def check_parquet(path: str | Path, metadata: Any) -> None:
    """Refuse a file whose decompressed size is too many times its own."""
    unpacked = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if unpacked > max(_ALWAYS_ALLOWED, _MOST_TIMES * Path(path).stat().st_size):
        raise PackedTooTightly(f"{path} unpacks to {unpacked} bytes")


def check_message(message: Any) -> None:
    """Refuse a compressed message: its decompressed size is not known in advance, and `datasets` does not compress."""
    try:
        packed = _is_packed(memoryview(message.metadata), message.type == "dictionary")
    except OutOfBounds:
        packed = True
    if packed:
        raise PackedTooTightly("an Arrow file with packed parts")


def blocks_of_footer(footer: bytes) -> Iterator[int]:
    """The offsets of all dictionaries and batches of an Arrow file, from its index."""
    data = memoryview(footer)
    try:
        for number in (2, 3):
            if field := _field(data, _led_to(data, 0), number):
                first = _led_to(data, field)
                # A block is an offset, two lengths and padding: 24 bytes.
                for place in range(int(unpack_from("<I", data, first)[0])):
                    yield int(unpack_from("<q", data, first + 4 + 24 * place)[0])
    except OutOfBounds:
        raise PackedTooTightly("an Arrow file whose index cannot be read") from None


def _is_packed(message: memoryview, dictionary: bool) -> bool:
    """Read from the flatbuffers: the batch is the third field of its message, and compression the batch's fourth."""
    batch = _led_to(message, _field(message, _led_to(message, 0), 2))
    if dictionary:
        batch = _led_to(message, _field(message, batch, 1))
    return _field(message, batch, 3) != 0


def _field(data: memoryview, table: int, number: int) -> int:
    """The position of a flatbuffers table's field; 0 if the table does not have it."""
    fields = table - int(unpack_from("<i", data, table)[0])
    (size,) = unpack_from("<H", data, fields)
    place = 4 + 2 * number
    offset = int(unpack_from("<H", data, fields + place)[0]) if place < size else 0
    return table + offset if offset else 0


def _led_to(data: memoryview, place: int) -> int:
    return place + int(unpack_from("<I", data, place)[0])
