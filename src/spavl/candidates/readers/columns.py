"""Finds LAION's columns under the spellings that data sets in the wild give them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from spavl.candidates.readers.entry import NO_LICENSE, Entry, RowLimits, Skipped, number

_SPELLINGS = {
    "url": ("url", "imageurl", "imgurl", "imagelink", "photoimageurl", "contenturl"),
    "text": ("text", "caption", "topcaption", "alttext", "alt", "title", "description", "llavacaption", "prompt"),
    "license": ("license", "licence", "rights", "licenseurl"),
    "similarity": ("similarity", "clipsimilarity", "clipsimilarityvitl14", "clipsimilarityvitb32", "clipscore"),
    # Of the picture as it stands there; what it was before somebody shrunk it has other names.
    "width": ("width", "imagewidth"),
    "height": ("height", "imageheight"),
    "unsafe": ("punsafe", "unsafe", "nsfwscore", "nsfwscoreopennsfw2"),
}


class Columns(NamedTuple):
    """The names that a table gives to what is read of it."""

    url: str | None
    text: str | None
    license: str | None
    similarity: str | None
    width: str | None
    height: str | None
    unsafe: str | None

    def entry(self, row: Mapping[str, Any], place: str, source: str, limits: RowLimits) -> Entry | Skipped:
        """A row as an entry. `source` is where its picture lies; where that is empty, its URL is it."""
        unsafe = number(row.get(self.unsafe or ""))
        if limits.most_unsafe is not None and unsafe is not None and unsafe > limits.most_unsafe:
            return Skipped(place, "punsafe")
        if limits.smallest_side is not None and any(side < limits.smallest_side for side in self._sides(row)):
            return Skipped(place, "stated_too_small")
        written = str(row.get(self.url or "") or "").strip()
        url = written if written.startswith(("http://", "https://")) else ""
        if not source and not url:
            return Skipped(place, "no_url")
        said = str(row.get(self.text or "") or "").strip()
        license = str(row.get(self.license or "") or "").strip() or NO_LICENSE
        return Entry(source or url, said, license, number(row.get(self.similarity or "")), url)

    def _sides(self, row: Mapping[str, Any]) -> list[float]:
        """Those that are stated; a side of nothing is none."""
        stated = (number(row.get(name or "")) for name in (self.width, self.height))
        return [side for side in stated if side is not None and side > 0]


def find_columns(names: Iterable[str]) -> Columns:
    plain = {"".join(each for each in name.casefold() if each.isalnum()): name for name in reversed(list(names))}
    return Columns(
        **{
            meant: next((plain[spelled] for spelled in spellings if spelled in plain), None)
            for meant, spellings in _SPELLINGS.items()
        }
    )
