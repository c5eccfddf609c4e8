"""WebDataset tars: `000.jpg` beside `000.txt` or `000.json`. Nothing is unpacked to disk."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spavl.data.sourcing.readers.columns import find_columns
from spavl.data.sourcing.readers.entry import (
    IMAGES,
    LONGEST_TEXT,
    OTHER_FORMAT,
    OTHER_IMAGES,
    RowLimits,
    SkippedEntry,
    SourceEntry,
    leads_out,
)
from spavl.text.encodable import is_encodable

# A sample with more images or texts than this is taken apart.
_MOST_IN_SAMPLE = 256
_FAULTS = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError)


def from_tar(file: Path, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    try:
        # Members are read by offset later, so the tar must not be compressed.
        with tarfile.open(file, "r:") as tar:
            yield from _samples(file, tar, limits)
            if _ends_early(tar):
                yield SkippedEntry(str(file), "broken_tar")
    except _FAULTS:
        yield SkippedEntry(str(file), "broken_tar")


class _Sample:
    """The members of one sample: images and texts, by what is between the first and the last dot of their names."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.images: dict[str, str] = {}
        self.said: dict[str, dict[str, Any]] = {}

    def entries(self, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
        """The image named by the key alone; if there is none, each other one, such as `key.front.jpg`."""
        for part in [""] if "" in self.images else self.images:
            only = next(iter(self.said.values())) if len(self.said) == 1 else {}
            said = self.said.get(part) or self.said.get("") or only
            yield find_columns(said).entry(said, self.images[part], f"tar:{self.images[part]}", limits)

    def is_full(self) -> bool:
        return max(len(self.images), len(self.said)) >= _MOST_IN_SAMPLE


def _samples(file: Path, tar: tarfile.TarFile, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    """The entries of a tar. The members of one sample are adjacent and share the name before the first dot."""
    sample = _Sample("")
    try:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps every member that it has read
            folder, _, name = member.name.rpartition("/")
            stem, _, rest = name.partition(".")
            part, _, kind = rest.rpartition(".")
            place = f"{file}#{member.name}"
            if member.isdir():
                continue
            if leads_out(member.name):
                yield SkippedEntry(place, "unsafe_name")
                continue
            if not member.isreg() or member.issparse():
                yield SkippedEntry(place, "not_a_file")
                continue
            if (new := f"{folder}/{stem}") != sample.key or (sample.is_full() and part not in sample.images):
                yield from sample.entries(limits)
                sample = _Sample(new)
            if f".{kind.lower()}" in IMAGES:
                sample.images[part] = f"{place}@{member.offset_data}+{member.size}"
            elif f".{kind.lower()}" in OTHER_IMAGES:
                yield SkippedEntry(place, OTHER_FORMAT)
            elif kind in ("txt", "caption", "json"):
                sample.said.setdefault(part, {}).update(_columns_of_member(tar, member, kind))
    finally:
        yield from sample.entries(limits)


def _ends_early(tar: tarfile.TarFile) -> bool:
    """Whether the members end at data that is not an end mark; `tarfile` does not report that."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    return any(tar.fileobj.read(tarfile.BLOCKSIZE))


def _columns_of_member(tar: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> dict[str, Any]:
    opened = tar.extractfile(member)
    text = opened.read(LONGEST_TEXT).decode("utf-8", "replace") if opened else ""
    if kind != "json":
        return {"caption": text}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and is_encodable(found) else {}
