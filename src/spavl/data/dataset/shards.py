"""Parquet files with the images inside, which `datasets.load_dataset` reads as they are.

Row groups are small, so that one row can be read without reading many. The rows of one image
are adjacent, and a group stores equal bytes once: three questions about an image cost one image.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.stages.notes import JsonRecord
from spavl.store.blobs import Blobs
from spavl.store.files import sync

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_ROWS_PER_GROUP = 50
# A writer keeps the metadata of every column of every group in memory until the file is closed, and a reader reads all
# of it first. So groups of wide rows are larger: at least this many rows for each column.
_ROWS_PER_COLUMN = 3
# The dictionary of a group holds images up to this total size; further images are stored one by one.
_LARGEST_DICTIONARY = 64 * 2**20
_ENDINGS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
_NAMES = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "bool"}


class ParquetShards(JsonRecord):
    """The files written for one split."""

    files: int
    rows: int
    bytes: int


def image_of(blob: str, blobs: Blobs) -> dict[str, Any]:
    data = blobs.get(blob)
    return {"bytes": data, "path": image_name(blob, data)}


def image_name(blob: str, data: bytes) -> str:
    """A file name made from the content, so that an image has the same name in every data set."""
    ending = next((ending for start, ending in _ENDINGS if data.startswith(start)), "bin")
    return f"{blob[:16]}.{ending}"


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """The columns as features of the `datasets` library."""
    return {field.name: _feature(field.type) for field in schema}


def yaml_features(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """The columns with their features in the YAML form of a data card."""
    for field in schema:
        is_list = pa.types.is_list(field.type)
        kind = field.type.value_type if is_list else field.type
        name = "image" if kind == IMAGE else _NAMES[kind]
        yield field.name, f"{'sequence' if is_list else 'dtype'}: {name}"


def _feature(kind: pa.DataType) -> dict[str, Any] | list[Any]:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        # A bare list, which every version of the library accepts; the name of its list class has changed.
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"_type": "Value", "dtype": _NAMES[kind]}


def write_shards(
    folder: Path, split: str, schema: pa.Schema, rows: Iterable[Mapping[str, Any]], shard_mb: int
) -> ParquetShards:
    """Write rows as a stream, with one group in memory at a time. A shard ends with the group that fills it.

    New shards are written to a temporary folder; when all are complete, they replace those of an earlier run.
    """
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features_of(schema)}})})
    beside = folder / f".{split}.new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    groups, count = _groups(rows, max(_ROWS_PER_GROUP, _ROWS_PER_COLUMN * len(schema))), 0
    unnamed: list[Path] = []
    group = next(groups, [])
    while group or not unnamed:
        unnamed.append(beside / f"{split}-{len(unnamed):05d}.parquet")
        with _writer(unnamed[-1], schema) as writer:
            # An empty split is one file without rows, so that a loader finds its columns.
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
            while (group := next(groups, [])) and unnamed[-1].stat().st_size < shard_mb * 10**6:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                count += len(group)
        sync(unnamed[-1])
    ending = f"-of-{len(unnamed):05d}.parquet"
    for earlier in folder.glob(f"{split}-[0-9]*.parquet"):
        earlier.unlink()
    named = [file.rename(folder / (file.stem + ending)) for file in unnamed]
    beside.rmdir()
    # After a power failure, no manifest may name files that were lost.
    sync(folder)
    return ParquetShards(files=len(named), rows=count, bytes=sum(file.stat().st_size for file in named))


def _groups(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(rows)
    while group := list(islice(left, size)):
        yield group


def _writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # Minimum and maximum of long texts are of no use, and would be most of the metadata of a group.
    numbers = [field.name for field in schema if pa.types.is_primitive(field.type)]
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=True,
        write_statistics=numbers,
        dictionary_pagesize_limit=_LARGEST_DICTIONARY,
    )
