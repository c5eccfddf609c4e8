"""Finds LAION's columns under the names that other data sets use."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spavl.data.sourcing.readers.entry import (
    LONGEST_TEXT,
    MOST_SAID,
    NO_LICENSE,
    RowLimits,
    SkippedEntry,
    SourceEntry,
    is_stated,
    leads_out,
    number,
)
from spavl.store.files import unicode_forms

_SPELLINGS = {
    # An image beside the table, as image folders of `datasets` name it in metadata.csv or metadata.jsonl.
    "file": ("filename", "filepath", "imagepath", "imagefile", "image"),
    "url": ("url", "imageurl", "imgurl", "imagelink", "photoimageurl", "contenturl"),
    "text": ("text", "caption", "topcaption", "alttext", "alt", "title", "description", "llavacaption", "prompt"),
    "license": ("license", "licence", "rights", "licenseurl"),
    "similarity": ("similarity", "clipsimilarity", "clipsimilarityvitl14", "clipsimilarityvitb32", "clipscore"),
    # The size of the image as stored. Data sets use other names for the size before they scaled it down.
    "width": ("width", "imagewidth"),
    "height": ("height", "imageheight"),
    "unsafe": ("punsafe", "unsafe", "nsfwscore", "nsfwscoreopennsfw2"),
}


class SourceColumns(NamedTuple):
    """The table's own names of the columns that are read, the usual spelling first.

    Tables that were put together have several columns for the same; of these, a row's first that is filled is read.
    """

    file: tuple[str, ...]
    url: tuple[str, ...]
    text: tuple[str, ...]
    license: tuple[str, ...]
    similarity: tuple[str, ...]
    width: tuple[str, ...]
    height: tuple[str, ...]
    unsafe: tuple[str, ...]

    def name_images(self) -> bool:
        return bool(self.file or self.url)

    def all_names(self) -> list[str]:
        return [name for names in self for name in names]

    def entry_naming_image(
        self, row: Mapping[str, Any], table: Path, number: int, limits: RowLimits
    ) -> SourceEntry | SkippedEntry:
        """The entry of a row that names its image by a file beside the table, or else by a URL."""
        place, name = f"{table}#{number}", _text_among(row, self.file)
        there = (table.parent / form for form in unicode_forms(name))
        if not name or leads_out(name) or not (file := next(filter(_is_file, there), None)):
            return self.entry(row, place, "", limits)
        if not file.resolve().is_relative_to(table.parent.resolve()):
            return SkippedEntry(place, "leads_outside")
        return self.entry(row, place, f"file:{file}", limits)

    def entry(self, row: Mapping[str, Any], place: str, source: str, limits: RowLimits) -> SourceEntry | SkippedEntry:
        """The entry of a row. `source` is the source of its image; if empty, the row's URL is used."""
        if limits.max_unsafe is not None and is_stated(stated := _cell_among(row, self.unsafe)):
            if (unsafe := number(stated)) is None:
                return SkippedEntry(place, "punsafe_no_number")
            if unsafe > limits.max_unsafe:
                return SkippedEntry(place, "punsafe")
        if limits.min_side is not None and any(side < limits.min_side for side in self._sides(row)):
            return SkippedEntry(place, "stated_too_small")
        # A column of files may hold addresses.
        written = _text_among(row, self.url or self.file).strip()
        scheme, _, rest = written.partition("://")
        # A scheme may be written in capitals. In lower case, the same address is always the same source.
        url = f"{scheme.lower()}://{rest}" if scheme.lower() in ("http", "https") and rest else ""
        if not source and not url:
            return SkippedEntry(place, "no_url" if self.url else "no_file")
        said = _text_among(row, self.text).strip()
        license = _text_among(row, self.license).strip() or NO_LICENSE
        return SourceEntry(source or url, said, license, number(_cell_among(row, self.similarity)), url)

    def _sides(self, row: Mapping[str, Any]) -> list[float]:
        """The stated width and height; a side of 0 counts as not stated."""
        stated = (number(_cell_among(row, names)) for names in (self.width, self.height))
        return [side for side in stated if side is not None and side > 0]


def find_columns(names: Iterable[str]) -> SourceColumns:
    plain = {"".join(each for each in name.casefold() if each.isalnum()): name for name in reversed(list(names))}
    return SourceColumns(
        **{
            meant: tuple(plain[spelled] for spelled in spellings if spelled in plain)
            for meant, spellings in _SPELLINGS.items()
        }
    )


def _cell_among(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first of these cells that is filled; None if none is."""
    return next((cell for name in names if is_stated(cell := row.get(name))), None)


def _text_among(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """The text of the first filled cell. Several texts of an image are joined."""
    cell = _cell_among(row, names)
    if isinstance(cell, list):
        cell = " ".join(str(part) for part in cell[:MOST_SAID] if is_stated(part))
    return str(cell or "")[:LONGEST_TEXT]


def _is_file(path: Path) -> bool:
    """Whether the path is a file. False if the untrusted name is one that the file system rejects, such as too long."""
    try:
        return path.is_file()
    except OSError:
        return False
