"""WebDataset tars: `000.jpg` beside `000.txt` or `000.json`. Nothing is unpacked to disk."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spavl.data.sourcing.readers.columns import find_columns
from spavl.data.sourcing.readers.entry import IMAGES, LONGEST_TEXT, RowLimits, SkippedEntry, SourceEntry, leads_out
from spavl.text.encodable import is_encodable

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


def _samples(file: Path, tar: tarfile.TarFile, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    """The entries of a tar. The members of one sample are adjacent and share the name before the first dot."""
    key, image, said = "", "", dict[str, Any]()

    def sample() -> Iterator[SourceEntry | SkippedEntry]:
        if image:
            yield find_columns(said).entry(said, image, f"tar:{image}", limits)

    try:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps every member that it has read
            folder, _, name = member.name.rpartition("/")
            stem, _, kind = name.partition(".")
            place = f"{file}#{member.name}"
            if member.isdir():
                continue
            if leads_out(member.name):
                yield SkippedEntry(place, "unsafe_name")
                continue
            if not member.isreg() or member.issparse():
                yield SkippedEntry(place, "not_a_file")
                continue
            if (new := f"{folder}/{stem}") != key:
                yield from sample()
                key, image, said = new, "", {}
            if f".{kind.lower()}" in IMAGES:
                image = f"{place}@{member.offset_data}+{member.size}"
            elif kind in ("txt", "caption", "json"):
                said |= _columns_of_member(tar, member, kind)
    finally:
        yield from sample()


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
