"""Looks for personal data in the words that an image shows, and rejects or covers the image."""

from typing import Any

import numpy as np
from PIL import Image

from spavl.data.downloads.filters.read_text import TextReader
from spavl.data.downloads.filters.types import Box, FilterInput, RegionAction
from spavl.text.personal_data import find_personal_data, require_libraries

# Batch size of the recognition network.
_AT_A_TIME = 6
# Two boxes are on one line of text if their heights overlap by this share.
_SAME_LINE = 0.5
# A box fits its letters closely, so it is enlarged by this share of its height.
_MARGIN = 0.15


class PersonalWordsFilter:
    """The number of finds in the lines that can be read, as one text in the order of reading."""

    name, reason = "personal_words", "personal_data"

    def __init__(self, action: RegionAction, reader: TextReader) -> None:
        require_libraries("downloads.personal_words")
        self._action, self._reader = action, reader
        self._last: tuple[Image.Image, tuple[int, list[Box]]] | None = None

    def measure(self, seen: FilterInput) -> float:
        return self._look(seen.pixels)[0]

    def refuses(self, measured: float) -> bool:
        return self._action == "drop" and measured > 0

    def regions(self, seen: FilterInput) -> list[Box]:
        return self._look(seen.pixels)[1] if self._action == "blur" else []

    def _look(self, pixels: Image.Image) -> tuple[int, list[Box]]:
        if self._last is None or self._last[0] is not pixels:
            self._last = pixels, self._read(pixels)
        return self._last[1]

    def _read(self, pixels: Image.Image) -> tuple[int, list[Box]]:
        image, boxes, scale = self._reader.find(pixels)
        texts: list[str] = []
        for start in range(0, len(boxes), _AT_A_TIME):
            texts += self._reader.read(image, boxes[start : start + _AT_A_TIME])
        lines = _in_order([(_around(box), text) for box, text in zip(boxes, texts, strict=True) if text])
        said, places, place = "", list[tuple[int, int, Box]](), 0
        for number, (box, text) in enumerate(lines):
            # A phone number may be read as two boxes of one line; an address has several lines.
            between = "" if number == 0 else " " if _are_beside(lines[number - 1][0], box) else "\n"
            place = len(said) + len(between)
            said += between + text
            places.append((place, len(said), box))
        finds = find_personal_data(said)
        hidden = [
            Box(*(side / scale for side in box)).with_margin(_MARGIN, pixels.size)
            for start, end, box in places
            if any(find.start < end and start < find.end for find in finds)
        ]
        return len(finds), hidden


def _around(corners: Any) -> Box:
    (left, top), (right, bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
    return Box(float(left), float(top), float(right), float(bottom))


def _are_beside(one: Box, other: Box) -> bool:
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    return shared > _SAME_LINE * min(one.bottom - one.top, other.bottom - other.top)


def _in_order(lines: list[tuple[Box, str]]) -> list[tuple[Box, str]]:
    """From top to bottom, and from left to right within a line."""
    rows: list[list[tuple[Box, str]]] = []
    for line in sorted(lines, key=lambda each: (each[0].top, each[0].left)):
        if rows and _are_beside(rows[-1][0][0], line[0]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda each: each[0].left)]
