"""Reads texts and numbers from the cells of a third-party Parquet file. Bytes and lists of numbers are deferred."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.errors import ConfigError
from spavl.imaging.tables.columns import holds_images, is_bytes, is_list, leaves, storage_type

_ROWS_AT_ONCE = 512
FAULTS = (OSError, ValueError, RecursionError, csv.Error, pa.ArrowException)


@dataclass(frozen=True, slots=True)
class DeferredCell:
    """A cell that is not read with its row: bytes, or lists of numbers, which may be very large."""

    kind: str
    holds_images: bool
    # The part of the cell that is read with the row, such as the names of its images.
    beside: Any


def unreadable(file: Path | str, error: Exception) -> ConfigError:
    return ConfigError(f"this file cannot be read: {error}", where=str(file), then="download it again")


def parquet_cells(file: Path) -> Iterator[dict[str, Any]]:
    """Each row. Run this in a separate process: a file that is not valid Parquet may crash it."""
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
    """Raises if two columns have one name, or `image.bytes` is beside a struct `image`: either might be read."""
    check_once(table.schema_arrow.names)
    parts = [table.schema.column(number).path for number in range(len(table.schema))]
    check_once(parts)


def check_once(names: Sequence[str]) -> None:
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"it has two columns {twice[0]!r}")


def _columns(table: pq.ParquetFile) -> tuple[list[str], dict[str, tuple[str, bool]]]:
    """The parts of columns to read with the rows, and by name the type of each column that is not fully read then."""
    parts = [table.schema.column(number).path for number in range(len(table.schema))]
    wanted, unread, before = list[str](), dict[str, tuple[str, bool]](), 0
    for field in table.schema_arrow:
        kinds = list(leaves(field.type))
        own = list(zip(parts[before : before + len(kinds)], kinds, strict=True))
        before += len(kinds)
        numbers = is_list(storage_type(field.type)) and all(pa.types.is_primitive(leaf) for _, leaf in own)
        read = [] if numbers else [part for part, leaf in own if not is_bytes(leaf)]
        wanted += read
        if len(read) < len(own):
            unread[field.name] = str(field.type), holds_images(field.type)
    return wanted, unread
