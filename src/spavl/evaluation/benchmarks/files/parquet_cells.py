"""The cells of a Parquet file as strangers wrote it: texts and numbers, and where bytes and vast lists are left."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.errors import ConfigError
from spavl.imaging.tables.columns import holds_images, is_bytes, is_list, leaves, stored

_ROWS_AT_ONCE = 512
FAULTS = (OSError, ValueError, RecursionError, csv.Error, pa.ArrowException)


@dataclass(frozen=True, slots=True)
class DeferredCell:
    """A cell that is not read with its row: bytes, or lists of numbers, which may be vast."""

    kind: str
    holds_images: bool
    # What is read of it, such as the names of its images.
    beside: Any


def unreadable(file: Path | str, error: Exception) -> ConfigError:
    return ConfigError(f"this file cannot be read: {error}", where=str(file), then="download it again")


def parquet_cells(file: Path) -> Iterator[dict[str, Any]]:
    """Each row. It is to run in a process of its own: what is no Parquet file may end it."""
    try:
        yield from _cells_of_rows(file)
    except FAULTS as error:
        raise unreadable(file, error) from None


def _cells_of_rows(file: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(file, pre_buffer=False) as table:
        _check_names(table)
        wanted, unread = _columns(table)
        names = table.schema_arrow.names
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=wanted):
            # A table of nothing but bytes has rows, but no columns that are read.
            for read in batch.to_pylist() if wanted else [{}] * batch.num_rows:
                cells = {name: read.get(name) for name in names}
                yield cells | {name: DeferredCell(*about, cells[name]) for name, about in unread.items()}


def _check_names(table: pq.ParquetFile) -> None:
    """Two columns of one name, or `image.bytes` beside a struct `image`: which is read would be chance."""
    check_once(table.schema_arrow.names)
    parts = [table.schema.column(number).path for number in range(len(table.schema))]
    check_once(parts)


def check_once(names: Sequence[str]) -> None:
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"it has two columns {twice[0]!r}")


def _columns(table: pq.ParquetFile) -> tuple[list[str], dict[str, tuple[str, bool]]]:
    """The parts of columns that are read with their rows; and each column that is not whole then, with its type."""
    parts = [table.schema.column(number).path for number in range(len(table.schema))]
    wanted, unread, before = list[str](), dict[str, tuple[str, bool]](), 0
    for field in table.schema_arrow:
        kinds = list(leaves(field.type))
        own = list(zip(parts[before : before + len(kinds)], kinds, strict=True))
        before += len(kinds)
        numbers = is_list(stored(field.type)) and all(pa.types.is_primitive(leaf) for _, leaf in own)
        read = [] if numbers else [part for part, leaf in own if not is_bytes(leaf)]
        wanted += read
        if len(read) < len(own):
            unread[field.name] = str(field.type), holds_images(field.type)
    return wanted, unread
