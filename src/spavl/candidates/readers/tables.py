"""Parquet and CSV: rows that name a URL, or Parquet rows that hold the picture itself, as `datasets` writes them."""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.candidates.readers.columns import find_columns
from spavl.candidates.readers.embeddings import beside
from spavl.candidates.readers.entry import Entry, RowLimits, Skipped

_ROWS_AT_ONCE = 4096


def from_parquet(file: Path, limits: RowLimits) -> Iterator[Entry | Skipped]:
    try:
        # Else whole row groups are fetched ahead, and some tables have one.
        with pq.ParquetFile(file, pre_buffer=False) as table:
            yield from _rows(file, table, limits)
    except (pa.ArrowException, OSError, ValueError):
        yield Skipped(str(file), "broken_table")


def _rows(file: Path, table: pq.ParquetFile, limits: RowLimits) -> Iterator[Entry | Skipped]:
    schema = table.schema_arrow
    columns, inside = find_columns(schema.names), _picture_column(schema)
    if columns.url is None and inside is None:
        yield Skipped(str(file), "no_url_column")
        return
    # The pictures themselves are not read here.
    wanted = [name for name in columns if name is not None and name != inside]
    vectors = beside(file)
    row = 0
    for batch in table.iter_batches(_ROWS_AT_ONCE, columns=wanted):
        # A table of nothing but pictures has rows, but no columns that are wanted.
        for cells in batch.to_pylist() if wanted else [{}] * batch.num_rows:
            place = f"{file}#{inside}/{row}" if inside else f"{file}#{row}"
            found = columns.entry(cells, place, f"parquet:{place}" if inside else "", limits)
            yield found._replace(vector=f"{vectors}#{row}") if vectors and isinstance(found, Entry) else found
            row += 1


def _picture_column(schema: pa.Schema) -> str | None:
    """The column of pictures: bytes, or the struct of bytes and path that `datasets` makes of them."""
    for field in schema:
        kind = field.type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return str(field.name)
    return None


def from_csv(file: Path, limits: RowLimits) -> Iterator[Entry | Skipped]:
    try:
        with (
            gzip.open(file, "rt", encoding="utf-8", errors="replace", newline="")
            if file.suffix == ".gz"
            else file.open(encoding="utf-8-sig", errors="replace", newline="") as opened
        ):
            rows = csv.DictReader(opened, delimiter="\t" if ".tsv" in file.suffixes else ",")
            columns = find_columns(name for name in rows.fieldnames or () if name)
            if columns.url is None:
                yield Skipped(str(file), "no_url_column")
                return
            for number, row in enumerate(rows):
                yield columns.entry(row, f"{file}#{number}", "", limits)
    except (csv.Error, OSError, EOFError, ValueError):
        yield Skipped(str(file), "broken_table")
