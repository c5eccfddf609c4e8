"""Parquet and Arrow: rows that name an image, or contain it as `datasets` writes it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.data.sourcing.readers.columns import find_columns
from spavl.data.sourcing.readers.embeddings import beside
from spavl.data.sourcing.readers.entry import LONGEST_TEXT, MOST_SAID, RowLimits, SkippedEntry, SourceEntry
from spavl.imaging.tables.arrow import read_batches, read_schema
from spavl.imaging.tables.columns import holds_images, storage_type
from spavl.imaging.tables.packing import PackedTooTightly, check_parquet

_ROWS_AT_ONCE = 4096
# The usual names of a column of images; img2dataset names it after its format.
_NAMED_SO = {"image", "images", "img", "jpg", "jpeg", "png", "webp"}
# With these encodings, a text that many rows share can be read without a copy for each row.
_SHARED_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}


class _Format(NamedTuple):
    """How to read the tables of one format. `scheme` is the prefix of the source of an image in such a table."""

    scheme: str
    schema: Callable[[str], Any]
    batches: Callable[[str, list[str]], Iterator[Any]]


def from_parquet(file: Path, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    return _entries(file, _Format("parquet", pq.read_schema, _parquet_batches), limits)


def from_arrow(file: Path, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    return _entries(file, _Format("arrow", read_schema, _arrow_batches), limits)


def _entries(file: Path, form: _Format, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    try:
        yield from _rows(file, form, limits)
    except PackedTooTightly:
        yield SkippedEntry(str(file), "packed_too_tightly")
    except (pa.ArrowException, OSError, ValueError):
        yield SkippedEntry(str(file), "broken_table")


def _rows(file: Path, form: _Format, limits: RowLimits) -> Iterator[SourceEntry | SkippedEntry]:
    schema = form.schema(str(file))
    columns, inside = find_columns(field.name for field in schema if _is_said(field.type)), _image_column(schema)
    if not columns.name_images() and inside is None:
        yield SkippedEntry(str(file), "no_url_column")
        return
    # The column of images is not read here.
    wanted = [name for name in columns.all_names() if name != inside]
    vectors = beside(file)
    row = 0
    for batch in form.batches(str(file), wanted):
        read = [_values(batch.column(name)) for name in wanted]
        # A table with no other column than images has rows, but no wanted columns.
        for cells in zip(*read, strict=True) if wanted else [()] * batch.num_rows:
            said = dict(zip(wanted, cells, strict=True))
            if inside:
                place = f"{file}#{inside}/{row}"
                found = columns.entry(said, place, f"{form.scheme}:{place}", limits)
            else:
                found = columns.entry_naming_image(said, file, row, limits)
            yield found._replace(vector=f"{vectors}#{row}") if vectors and isinstance(found, SourceEntry) else found
            row += 1


def _is_said(kind: Any) -> bool:
    """Whether a column may hold metadata of an image: scalars, or lists of scalars."""
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    return not pa.types.is_nested(inner)


def _image_column(schema: Any) -> str | None:
    """The column of images: bytes, or the struct of bytes and path that `datasets` makes of them.

    Of several, the one that is named so, or else the first. Bytes of a fixed size come last: most are hashes.
    """
    found = [field for field in schema if holds_images(field.type)]
    found.sort(key=lambda field: (field.name.casefold() not in _NAMED_SO, _is_of_fixed_size(field.type)))
    return str(found[0].name) if found else None


def _is_of_fixed_size(kind: Any) -> bool:
    return bool(pa.types.is_fixed_size_binary(storage_type(kind)))


def _parquet_batches(file: str, wanted: list[str]) -> Iterator[Any]:
    """Batches with texts as dictionary indices; one row at a time if the file's encodings do not allow that."""
    with pq.ParquetFile(file) as table:
        check_parquet(file, table.metadata)
        groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)]
        parts = [group.column(number) for group in groups for number in range(group.num_columns)]
        texts = [part for part in parts if part.physical_type == "BYTE_ARRAY" and _is_of(part.path_in_schema, wanted)]
    shared = all(_SHARED_ENCODINGS.issuperset(part.encodings) for part in texts)
    names = sorted({part.path_in_schema for part in texts}) if shared else None
    # With `pre_buffer`, whole row groups would be read ahead, and some tables have only one.
    with pq.ParquetFile(file, pre_buffer=False, read_dictionary=names) as table:
        yield from table.iter_batches(_ROWS_AT_ONCE if shared else 1, columns=wanted)


def _is_of(path: str, wanted: Sequence[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in wanted)


def _arrow_batches(file: str, wanted: list[str]) -> Iterator[Any]:
    for _, batch in read_batches(file):
        chosen = batch.select(wanted)
        # The data is untrusted and not checked yet: its offsets may point anywhere.
        chosen.validate(full=True)
        yield from (chosen.slice(first, _ROWS_AT_ONCE) for first in range(0, chosen.num_rows, _ROWS_AT_ONCE))


def _values(column: Any) -> list[Any]:
    """The cells of a column. Each text is cut before the next is decoded, as many rows may share a very long one."""
    if pa.types.is_primitive(column.type):
        return list(column.to_pylist())
    if not isinstance(column, pa.DictionaryArray):
        return [_cut(cell) for cell in column]
    used = column.indices.unique().drop_null()
    values = dict(zip(used.to_pylist(), _values(column.dictionary.take(used)), strict=True))
    return [values.get(place) for place in column.indices.to_pylist()]


def _cut(cell: Any) -> Any:
    if isinstance(cell, pa.ListScalar):
        parts = _values(cell.values[:MOST_SAID]) if cell.is_valid else ()
        value = " ".join(str(part) for part in parts if part is not None)
    else:
        value = cell.as_py()
    return value[:LONGEST_TEXT] if isinstance(value, str) else value
