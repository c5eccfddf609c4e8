"""Shared by the exports: writes each image once, and JSON row by row."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spavl.data.dataset.shards import image_name
from spavl.records import Split
from spavl.store.blobs import Blobs
from spavl.store.files import write_bytes, writing_to

SPLITS: tuple[Split, ...] = ("train", "validation")
# Many trainers and chat templates mark the place of an image like this. If a text contains a mark itself, such as
# HTML's <video>, trainers would count one more image or video and stop. The form with braces is LLaMA-Factory's.
IMAGE_MARK = "<image>"
_MARK = re.compile(r"(<|\{\{)(image|video|audio)(>|\}\})")


def break_image_marks(text: str) -> str:
    return _MARK.sub(r"\1 \2 \3", text)


def write_image(out: Path, folder: str, blob: str, blobs: Blobs) -> str:
    """Write an image if it does not exist yet. Returns its path within the export."""
    data = blobs.get(blob)
    name = f"{folder}/{image_name(blob, data)}"
    if not (out / name).exists():
        write_bytes(out / name, data)
    return name


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with writing_to(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def write_json_array(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON array with one row per line, for readers that load the whole file. Returns the number of rows."""
    count = 0
    with writing_to(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(("," if count else "[") + "\n" + json.dumps(row, ensure_ascii=False))
            count += 1
        file.write("\n]\n" if count else "[]\n")
    return count
