"""Searches files to be published for API keys: keys of this machine by value, others by their format."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from spavl.errors import ConfigError
from spavl.text.secrets import known_keys, pattern_of

_SHAPES = re.compile(
    rb"(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_-]{20,200}|hf_[A-Za-z0-9]{30,80}|gh[opsur]_[A-Za-z0-9]{30,200}"
    rb"|github_pat_[A-Za-z0-9_]{30,200}|glpat-[A-Za-z0-9_-]{20,200}|gsk_[A-Za-z0-9]{40,200}|xox[abprs]-[A-Za-z0-9-]{20,200}"
    rb"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|nvapi-[A-Za-z0-9_-]{60,80}|r8_[A-Za-z0-9_-]{37}"
    rb"|xai-[A-Za-z0-9_]{80}|eyJ[A-Za-z0-9_-]{10,300}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{20,1000})(?![A-Za-z0-9])"
    rb"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----|://[^/?#\s@:\"'<>]{1,200}:[^/?#\s@\"'<>]{1,200}@[A-Za-z0-9]"
)
_ROWS = 256
_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_PIECE, _OVERLAP = 2**20, 2**12


def refuse_keys(folder: Path, files: Iterable[Path], look_for_shapes: bool) -> None:
    """Raise ConfigError if a file contains a key. The message names the file and the place in it."""
    held = pattern_of((*known_keys(), *_token_of_hub()))
    for file in files:
        for place, data, is_text in _pieces(file):
            what = ""
            if held is not None and held.search(data):
                what, then = "a key of this machine stands", "take what holds it out of the data set, and renew the key"
            elif look_for_shapes and is_text and _SHAPES.search(data):
                what = "what looks like a key stands"
                then = "take what holds it out; if it opens nothing, such as one in an image, give --allow-key-shapes"
            if what:
                name = file.relative_to(folder).as_posix()
                raise ConfigError(f"{what} in what would be published", where=f"{name}{place}", then=then)


def _pieces(file: Path) -> Iterator[tuple[str, bytes, bool]]:
    """The content of a file in pieces: the place of each in the file, its bytes, and whether it is text."""
    if file.suffix == ".parquet":
        yield from _cells(file)
        return
    is_text = file.suffix not in _IMAGES
    with file.open("rb") as stream:
        before = b""
        while part := stream.read(_PIECE):
            yield "", before + part, is_text
            before = part[-_OVERLAP:]


def _cells(file: Path) -> Iterator[tuple[str, bytes, bool]]:
    """The metadata and the cells of a Parquet file. It is compressed, so a search of its bytes would find nothing."""
    with pq.ParquetFile(file) as table:
        metadata = b"\n".join(part for pair in (table.metadata.metadata or {}).items() for part in pair)
        yield ", its metadata", metadata, True
        row = 0
        for batch in table.iter_batches(_ROWS):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                for number, value in enumerate(column.to_pylist()):
                    for data, is_text in _values(value):
                        yield f", row {row + number}, column {name}", data, is_text
            row += batch.num_rows


def _values(value: Any) -> Iterator[tuple[bytes, bool]]:
    if isinstance(value, str):
        yield value.encode(), True
    elif isinstance(value, bytes):
        yield value, False
    elif isinstance(value, dict):
        for each in value.values():
            yield from _values(each)
    elif isinstance(value, list):
        for each in value:
            yield from _values(each)


def _token_of_hub() -> tuple[str, ...]:
    from huggingface_hub import get_token

    return tuple(filter(None, (get_token(),)))
