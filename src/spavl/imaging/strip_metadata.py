"""Removes everything from an image file except its pixels, without changing a pixel.

Encoding an image again would take more time than decoding it, and a JPEG would lose quality.
So only the parts that a decoder needs are copied. EXIF, GPS, comments, colour profiles, thumbnails,
later frames and bytes after the end are dropped. The functions return None for files that are not that simple.
"""

import re
import zlib
from collections.abc import Iterator

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = (b"IHDR", b"IDAT", b"IEND")

_START, _END, _SCAN, _APP0, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE
# Tables, frame headers and restart intervals. Plain JFIF and Adobe markers are kept too: they define the colour space.
_JPEG_KEPT = {0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, _SCAN}
_JPEG_DROPPED = {0xFE, *range(0xE1, 0xF0)} - {_APP14}
# In a scan, 0xFF is followed by 0 or a restart marker; any other marker ends the scan.
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def clean_jpeg(data: bytes) -> bytes | None:
    parts = [data[:2]]
    place = 2
    while True:
        if data[place : place + 1] != b"\xff" or place + 4 > len(data):
            return b"".join([*parts, data[place : place + 2]]) if data[place : place + 2] == b"\xff\xd9" else None
        mark = data[place + 1]
        if mark == _END:
            return b"".join([*parts, data[place : place + 2]])
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        if mark == _SCAN:
            found = _SCAN_END.search(data, end)
            if found is None:
                return None
            end = found.start()
        if mark in _JPEG_KEPT or _says_how_colours_are_kept(mark, data[place + 4 : end]):
            parts.append(data[place:end])
        elif mark not in _JPEG_DROPPED:
            return None
        place = end


def _says_how_colours_are_kept(mark: int, body: bytes) -> bool:
    # Longer markers contain a thumbnail, or data that does not belong there.
    return (mark == _APP0 and body.startswith(b"JFIF\0") and len(body) == 14 and body[12:] == b"\0\0") or (
        mark == _APP14 and body.startswith(b"Adobe") and len(body) == 12
    )


def clean_png(data: bytes) -> bytes | None:
    """For PNGs with 8 bits per channel, grey or RGB, without transparency."""
    chunks = list(_chunks(data))
    if not chunks or chunks[-1][4:8] != b"IEND":
        return None
    return b"".join([_PNG_HEAD, *(chunk for chunk in chunks if chunk[4:8] in _PNG_KEPT)])


def _chunks(data: bytes) -> Iterator[bytes]:
    place = len(_PNG_HEAD)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        chunk = data[place:end]
        if len(chunk) < end - place or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
            return
        yield chunk
        if chunk[4:8] == b"IEND":
            return
        place = end
