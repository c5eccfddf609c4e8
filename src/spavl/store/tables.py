"""Records in Parquet; the columns come from the record's type hints."""

import typing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.errors import StoreError
from spavl.records import Record
from spavl.store.files import writing_to

R = TypeVar("R", bound=Record)

_ROWS_PER_GROUP = 4096
_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def schema_of(record: type[Record]) -> pa.Schema:
    """The columns of a record: its id first, then its fields in order."""
    columns = [pa.field("id", pa.string(), nullable=False)]
    for name, hint in typing.get_type_hints(record).items():
        columns.append(pa.field(name, *_arrow_type(hint)))
    return pa.schema(columns, metadata={"record": record.__name__})


def _arrow_type(hint: Any) -> tuple[pa.DataType, bool]:
    """The Arrow type of a type hint, and whether it may be null."""
    if hint in _ARROW:
        return _ARROW[hint], False
    arguments = typing.get_args(hint)
    if NoneType in arguments:
        (inner,) = (part for part in arguments if part is not NoneType)
        return _arrow_type(inner)[0], True
    if typing.get_origin(hint) is typing.Literal:
        return pa.string(), False
    if typing.get_origin(hint) is tuple:
        return pa.list_(_arrow_type(arguments[0])[0]), False
    raise TypeError(f"a record cannot hold a {hint}")


def row_of(record: Record) -> dict[str, Any]:
    return {"id": record.id, **record.fields()}


def record_from(kind: type[R], row: dict[str, Any]) -> R:
    """The record of a row of plain values."""
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key != "id"}
    return kind(**fields)


def write_table(path: Path, kind: type[R], records: Iterable[R]) -> int:
    """Write records to one Parquet file in order, one row group in memory at a time. Returns their number."""
    schema, left, count = schema_of(kind), iter(records), 0
    with (
        writing_to(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        while rows := [row_of(record) for record in islice(left, _ROWS_PER_GROUP)]:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def read_table(path: Path, kind: type[R]) -> Iterator[R]:
    """The records of a file, one row group in memory at a time."""
    with damage_named(path), open_table(path, kind) as file:
        for batch in file.iter_batches(_ROWS_PER_GROUP):
            for row in batch.to_pylist():
                yield record_from(kind, row)


def ids_in(path: Path, kind: type[Record]) -> Iterator[str]:
    """The ids of a table, in the order of its rows."""
    with damage_named(path), open_table(path, kind) as file:
        for batch in file.iter_batches(_ROWS_PER_GROUP, columns=["id"]):
            yield from batch.column(0).to_pylist()


def open_table(path: Path, kind: type[Record]) -> pq.ParquetFile:
    try:
        with damage_named(path):
            return pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError:
        then = "type the command that made it again; finished calls are not made again"
        raise StoreError(f"no table of {kind.__name__} rows", where=str(path), then=then) from None


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises at a damaged file, which may be anything, into one error that says what to do."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError, TypeError) as error:
        then = "delete it and type the command that made it again; finished calls are not made again"
        raise StoreError(f"the table is damaged: {error}", where=str(path), then=then) from error
