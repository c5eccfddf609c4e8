"""A folder of pictures in no order, each with its caption in a text file beside it."""

from collections.abc import Iterator
from pathlib import Path

from spavl.candidates.readers.entry import LONGEST_TEXT, PICTURES, Entry, Skipped
from spavl.store.files import files_under


def from_folder(folder: Path) -> Iterator[Entry | Skipped]:
    inside = folder.resolve()
    for file in sorted(path for path in files_under(folder) if path.suffix.lower() in PICTURES):
        if not file.resolve().is_relative_to(inside):
            yield Skipped(str(file), "leads_outside")
        else:
            yield Entry(f"file:{file}", caption_of(file, inside))


def caption_of(picture: Path, inside: Path) -> str:
    """What the text file beside a picture says, if it is there and in the folder."""
    file = picture.with_suffix(".txt")
    if not file.is_file() or not file.resolve().is_relative_to(inside):
        return ""
    with file.open(encoding="utf-8", errors="replace") as opened:
        return opened.read(LONGEST_TEXT).strip()
