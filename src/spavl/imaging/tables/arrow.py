"""Reads Arrow files as `datasets` saves them: a sequence of record batches. They are memory-mapped, not loaded."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from spavl.imaging.tables.packing import check_message

# The Arrow file format starts with these bytes; a stream of batches follows.
_MAGIC = b"ARROW1\0\0"


def read_schema(path: str) -> Any:
    with _open_stream(path) as (_, reader):
        return reader.schema


def read_batches(path: str) -> Iterator[tuple[int, Any]]:
    """Yield each batch with its offset in the file."""
    _check_packing(path)
    with _open_stream(path) as (source, reader):
        while True:
            place = source.tell()
            try:
                yield place, reader.read_next_batch()
            except StopIteration:
                return


def read_batch(path: str, place: int) -> Any:
    with _open_stream(path) as (source, reader):
        # Dictionaries, which later batches use, precede the first batch.
        first = source.tell()
        batch = reader.read_next_batch()
        if place == first:
            return batch
        source.seek(place)
        return reader.read_next_batch()


def _check_packing(path: str) -> None:
    # For a truncated file, the error is raised when its batches are read.
    with contextlib.suppress(OSError, pa.ArrowException), _map_file(path) as source:
        for message in pa.ipc.MessageReader.open_stream(source):
            check_message(message)


@contextlib.contextmanager
def _open_stream(path: str) -> Iterator[tuple[Any, Any]]:
    with _map_file(path) as source, pa.ipc.open_stream(source) as reader:
        yield source, reader


@contextlib.contextmanager
def _map_file(path: str) -> Iterator[Any]:
    with pa.memory_map(path) as source:
        source.seek(len(_MAGIC) if source.read(len(_MAGIC)) == _MAGIC else 0)
        yield source
