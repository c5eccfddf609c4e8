"""Finds LAION's columns under the spellings that data sets in the wild give them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from spavl.candidates.readers.entry import NO_LICENSE, Entry, Skipped, number

_SPELLINGS = {
    "url": ("url", "imageurl", "imgurl", "imagelink", "photoimageurl", "contenturl"),
    "text": ("text", "caption", "topcaption", "alttext", "alt", "title", "description", "llavacaption", "prompt"),
    "license": ("license", "licence", "rights", "licenseurl"),
    "similarity": ("similarity", "clipsimilarity", "clipsimilarityvitl14", "clipsimilarityvitb32", "clipscore"),
    "unsafe": ("punsafe", "unsafe", "nsfwscore", "nsfwscoreopennsfw2"),
}


class Columns(NamedTuple):
    """The names that a table gives to what is read of it."""

    url: str | None
    text: str | None
    license: str | None
    similarity: str | None
    unsafe: str | None

    def entry(self, row: Mapping[str, Any], place: str, source: str, most_unsafe: float | None) -> Entry | Skipped:
        """A row as an entry. `source` is where its picture lies; where that is empty, its URL is it."""
        unsafe = number(row.get(self.unsafe or ""))
        if most_unsafe is not None and unsafe is not None and unsafe > most_unsafe:
            return Skipped(place, "punsafe")
        where = source or str(row.get(self.url or "") or "").strip()
        if not source and not where.startswith(("http://", "https://")):
            return Skipped(place, "no_url")
        said = str(row.get(self.text or "") or "").strip()
        license = str(row.get(self.license or "") or "").strip() or NO_LICENSE
        return Entry(where, said, license, number(row.get(self.similarity or "")))


def find_columns(names: Iterable[str]) -> Columns:
    plain = {"".join(each for each in name.casefold() if each.isalnum()): name for name in reversed(list(names))}
    return Columns(
        **{
            meant: next((plain[spelled] for spelled in spellings if spelled in plain), None)
            for meant, spellings in _SPELLINGS.items()
        }
    )
