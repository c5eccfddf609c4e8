"""A folder of unsorted images, each with its caption in a text file beside it."""

import os
from collections.abc import Iterator
from pathlib import Path

from spavl.data.sourcing.readers.entry import (
    IMAGES,
    LONGEST_TEXT,
    OTHER_FORMAT,
    OTHER_IMAGES,
    SkippedEntry,
    SourceEntry,
)
from spavl.store.files import files_under, leads_outside


def from_folder(folder: Path) -> Iterator[SourceEntry | SkippedEntry]:
    inside = folder.resolve()
    found = {Path(file.path): file for file in files_under(folder)}
    for path, file in sorted(found.items()):
        if path.suffix.lower() in OTHER_IMAGES:
            yield SkippedEntry(str(path), OTHER_FORMAT)
        elif path.suffix.lower() not in IMAGES:
            continue
        elif leads_outside(file, inside):
            yield SkippedEntry(str(path), "leads_outside")
        else:
            said = found.get(path.with_suffix(".txt"))
            yield SourceEntry(f"file:{path}", caption_in(said, inside) if said else "")


def caption_in(file: os.DirEntry[str], inside: Path) -> str:
    """The text of the file beside an image; empty if the file is a link that leads outside the folder."""
    if leads_outside(file, inside):
        return ""
    with Path(file.path).open(encoding="utf-8", errors="replace", newline="") as opened:
        return opened.read(LONGEST_TEXT).strip()
