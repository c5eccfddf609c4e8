"""The rows that every writer writes: texts that formats often damage, and images that no other row has."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from tests.support.images import encoded, photo

# Each is one that some reader or writer is known to change: quotes, separators, line ends, numbers, words for nothing.
TEXTS = (
    "What is shown?",
    "He said \"yes, no\"; and 'maybe'",
    "two\nlines\n\nand a\ttab",
    "a line end of Windows\r\nand one of old Macs\rhere",
    "Größe 日本語 العربية 🙂👩‍👩‍👧 e\u0301 \u200b ﷽",
    "marks \u2028 within \u2029 a \x85 line",
    "NULL",
    "NA",
    "nan",
    "None",
    "007",
    "1.0",
    "1e5",
    "true",
    "=1+1",
    "#N/A",
    '["a", "list"]',
    '{"a": 1}',
    "\\n and \\u0041 are no escapes",
    "2024-01-02",
    "a|b;c,d",
    "'",
    "100%",
)


class Row(NamedTuple):
    """One row; a cell may be None or empty."""

    id: int
    question: str | None
    chosen: str | None
    rejected: str | None
    caption: str | None
    image: bytes | None
    image_name: str


def full_rows() -> list[Row]:
    """One row for each text, which is in its question, its answers and its caption."""
    return [
        Row(
            number,
            f"{number}: {text}" if text[0] in "=#" else text,
            f"no {text}",
            f"yes {text}",
            f"{text} in a caption",
            encoded(photo(number, 32), "PNG"),
            f"{number:05d}.png",
        )
        for number, text in enumerate(TEXTS)
    ]


def rows_with_holes() -> list[Row]:
    """Full rows between rows of which one cell is empty or missing."""
    good = full_rows()[:7]
    return [
        good[0],
        good[1]._replace(question=None),
        good[2],
        good[3]._replace(chosen=""),
        good[4]._replace(caption=None),
        good[5]._replace(image=None),
        good[6]._replace(rejected=None),
    ]


def write_images(folder: Path, rows: Sequence[Row]) -> None:
    """The images as files beside a table that names them."""
    for row in rows:
        if row.image is not None:
            (folder / "images").mkdir(parents=True, exist_ok=True)
            (folder / "images" / row.image_name).write_bytes(row.image)


def pixels(image: bytes) -> bytes:
    return Image.open(io.BytesIO(image)).convert("RGB").tobytes()
