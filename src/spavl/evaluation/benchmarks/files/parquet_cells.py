"""Reads texts and numbers from the cells of a third-party Parquet or Arrow file.

Bytes and lists of numbers are deferred.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.errors import ConfigError
from spavl.imaging.tables.arrow import read_batches, read_schema
from spavl.imaging.tables.columns import holds_images, is_bytes, is_list, leaves, storage_type
from spavl.imaging.tables.packing import check_parquet
from spavl.text.encodable import is_encodable

_ROWS_AT_ONCE = 512
FAULTS = (OSError, ValueError, RecursionError, csv.Error, pa.ArrowException)


class NamedTwice(ValueError):
    """Two columns of a table have one name."""


@dataclass(frozen=True, slots=True)
class DeferredCell:
    """A cell that is not read with its row: bytes, or lists of numbers, which may be very large."""

    kind: str
    holds_images: bool
    # The part of the cell that is read with the row, such as the names of its images.
    beside: Any


def unreadable(file: Path | str, error: Exception) -> ConfigError:
    then = "download it again"
    if isinstance(error, UnicodeDecodeError):
        then = "save it in UTF-8; spreadsheets call it CSV UTF-8"
    elif isinstance(error, NamedTwice):
        then = "rename one of the two, or leave it out, and write the file again"
    elif isinstance(error, csv.Error):
        then = "write it again, with each quote within a quoted cell doubled"
    elif isinstance(error, pa.ArrowNotImplementedError):
        then = "write its columns as plain types, such as string, int64 and binary"
    return ConfigError(f"this file cannot be read: {error}", where=str(file), then=then)


def parquet_cells(file: Path) -> Iterator[dict[str, Any]]:
    """Each row. Run this in a separate process: a file that is not valid Parquet may crash it."""
    try:
        yield from _cells_of_rows(file)
    except FAULTS as error:
        raise unreadable(file, error) from None


def arrow_cells(file: Path) -> Iterator[dict[str, Any]]:
    """Each row of an Arrow file, such as one that `datasets` has saved. Run this in a separate process, too."""
    try:
        schema = read_schema(str(file))
        check_once(schema.names)
        unread = {field.name: about for field in schema if (about := _about_unread(field.type))}
        wanted = [name for name in schema.names if name not in unread]
        for _, batch in read_batches(str(file)):
            chosen = batch.select(wanted)
            # The data is untrusted: its offsets may point anywhere.
            chosen.validate(full=True)
            names = [_names_in(batch.column(name)) for name in unread]
            for number, read in enumerate(_rows_of(chosen) if wanted else [{}] * batch.num_rows):
                held = zip(unread.items(), names, strict=True)
                deferred = {name: DeferredCell(*about, beside[number]) for (name, about), beside in held}
                yield {name: deferred.get(name, read.get(name)) for name in schema.names}
    except FAULTS as error:
        raise unreadable(file, error) from None


def schema_and_rows(file: Path) -> tuple[Any, int]:
    """The columns of a Parquet or Arrow file, and the number of its rows."""
    if file.suffix.lower() == ".arrow":
        return read_schema(str(file)), sum(batch.num_rows for _, batch in read_batches(str(file)))
    with pq.ParquetFile(file) as opened:
        check_parquet(file, opened.metadata)
        return opened.schema_arrow, opened.metadata.num_rows


def _about_unread(kind: Any) -> tuple[str, bool] | None:
    """The type of a column that is not read with its rows, and whether it holds images; None if it is read."""
    own = list(leaves(kind))
    numbers = is_list(storage_type(kind)) and all(map(pa.types.is_primitive, own))
    return (str(kind), holds_images(kind)) if numbers or any(map(is_bytes, own)) else None


def _names_in(column: Any) -> list[Any]:
    """The names of the images beside their bytes, as a column of structs has them."""
    kind = column.type
    if not pa.types.is_struct(kind) or (place := kind.get_field_index("path")) < 0:
        return [None] * len(column)
    column.validate(full=True)
    return [{"path": name} for name in column.flatten()[place].to_pylist()]


def _cells_of_rows(file: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(file, pre_buffer=False) as table:
        _check_names(table)
        wanted, unread = _columns(table)
        names = table.schema_arrow.names
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=wanted):
            # A table of nothing but bytes has rows, but no columns that are read.
            for read in _rows_of(batch) if wanted else [{}] * batch.num_rows:
                cells = {name: read.get(name) for name in names}
                yield cells | {name: DeferredCell(*about, cells[name]) for name, about in unread.items()}


def _rows_of(batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch. Values that are stored as JSON are read, as `datasets` stores parts of unlike turns."""
    found: list[dict[str, Any]] = batch.to_pylist()
    for field in batch.schema:
        if _holds_json(field.type):
            for row in found:
                row[field.name] = _of_json(row[field.name], field.type)
    return found


def _holds_json(kind: Any) -> bool:
    if isinstance(kind, pa.JsonType):
        return True
    kind = storage_type(kind)
    inner = [kind.value_type] if is_list(kind) else [each.type for each in kind] if pa.types.is_struct(kind) else []
    return any(map(_holds_json, inner))


def _of_json(value: Any, kind: Any) -> Any:
    if value is None or not _holds_json(kind):
        return value
    if isinstance(kind, pa.JsonType):
        read = json.loads(value)
        if not is_encodable(read):
            raise ValueError("a cell of JSON holds half a character (a lone surrogate)")
        return read
    kind = storage_type(kind)
    if is_list(kind):
        return [_of_json(each, kind.value_type) for each in value]
    return {each.name: _of_json(value[each.name], each.type) for each in kind if each.name in value}


def _check_names(table: pq.ParquetFile) -> None:
    """Raises if two columns have one name, or `image.bytes` is beside a struct `image`: either might be read."""
    check_once(table.schema_arrow.names)
    parts = [table.schema.column(number).path for number in range(len(table.schema))]
    check_once(parts)


def check_once(names: Sequence[str]) -> None:
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise NamedTwice(f"it has two columns {twice[0]!r}")


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
