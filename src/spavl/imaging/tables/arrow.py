"""Reads Arrow files: streams of record batches, as `datasets` saves them, and files with an index of their batches.

They are memory-mapped, not loaded. The place of a batch is its offset in a stream, and its number in a file.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from spavl.imaging.tables.packing import blocks_of_footer, check_message

# The Arrow file format starts and ends with these bytes. Only its index says where the batches are.
_MAGIC = b"ARROW1"
# The length of the index and the magic bytes are behind it.
_TAIL = 4 + len(_MAGIC)


def read_schema(path: str) -> Any:
    if _has_index(path):
        with _open_file(path) as reader:
            return reader.schema
    with _open_stream(path) as (_, reader):
        return reader.schema


def read_batches(path: str) -> Iterator[tuple[int, Any]]:
    """Yield each batch with its place."""
    _check_packing(path)
    if _has_index(path):
        with _open_file(path) as reader:
            yield from ((number, reader.get_batch(number)) for number in range(reader.num_record_batches))
        return
    with _open_stream(path) as (source, reader):
        while True:
            place = source.tell()
            try:
                yield place, reader.read_next_batch()
            except StopIteration:
                return


def read_batch(path: str, place: int) -> Any:
    if _has_index(path):
        with _open_file(path) as reader:
            return reader.get_batch(place)
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
    with contextlib.suppress(OSError, pa.ArrowException), pa.memory_map(path) as source:
        for message in _messages_of_file(source) if _has_index(path) else _messages_of_stream(source):
            check_message(message)


def _messages_of_file(source: Any) -> Iterator[Any]:
    source.seek(source.size() - _TAIL)
    size = int.from_bytes(source.read(4), "little", signed=True)
    source.seek(source.size() - _TAIL - size)
    for offset in blocks_of_footer(source.read(size)):
        source.seek(offset)
        yield pa.ipc.read_message(source)


def _messages_of_stream(source: Any) -> Iterator[Any]:
    _skip_magic(source)
    yield from pa.ipc.MessageReader.open_stream(source)


def _has_index(path: str) -> bool:
    with pa.memory_map(path) as source:
        if source.size() < 2 * _TAIL or source.read(len(_MAGIC)) != _MAGIC:
            return False
        source.seek(source.size() - len(_MAGIC))
        return bool(source.read(len(_MAGIC)) == _MAGIC)


@contextlib.contextmanager
def _open_file(path: str) -> Iterator[Any]:
    with pa.memory_map(path) as source, pa.ipc.open_file(source) as reader:
        yield reader


@contextlib.contextmanager
def _open_stream(path: str) -> Iterator[tuple[Any, Any]]:
    with pa.memory_map(path) as source:
        _skip_magic(source)
        with pa.ipc.open_stream(source) as reader:
            yield source, reader


def _skip_magic(source: Any) -> None:
    # A truncated file has lost its index; its batches may still follow each other as in a stream.
    source.seek(8 if source.read(len(_MAGIC)) == _MAGIC else 0)
