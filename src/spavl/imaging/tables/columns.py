"""Which columns of a table contain the bytes of images, by their Arrow type.

| type | written by |
| --- | --- |
| `struct<bytes, path>`, in any order, and lists of it | `datasets` |
| `struct<bytes>`, `struct<bytes, path: null>` | pandas and pyarrow, from `{"bytes": ...}` |
| bytes: binary, large, view, fixed-size, dictionary-encoded | pandas, polars, pyarrow |
| lists of bytes: large, view, fixed-size | polars, pyarrow |
| any of these as an extension type | pyarrow |
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

_IS_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
_IS_LIST = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def holds_images(kind: Any) -> bool:
    """Whether a cell of this type is bytes, a struct with bytes, or a list of either; UUIDs are no images."""
    if isinstance(kind, pa.UuidType):
        return False
    inner = in_lists(kind)
    if is_struct_of_bytes(inner):
        inner = storage_type(inner.field("bytes").type)
    return is_bytes(inner)


def in_lists(kind: Any) -> Any:
    """The element type of lists nested to any depth."""
    kind = storage_type(kind)
    while is_list(kind):
        kind = storage_type(kind.value_type)
    return kind


def storage_type(kind: Any) -> Any:
    """The storage type of an extension type, or the value type of a dictionary."""
    while isinstance(kind, pa.BaseExtensionType) or pa.types.is_dictionary(kind):
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind.storage_type
    return kind


def leaves(kind: Any) -> Iterator[Any]:
    """The primitive types of a nested type, in the order of its Parquet leaf columns."""
    inner = in_lists(kind)
    if pa.types.is_struct(inner):
        for number in range(inner.num_fields):
            yield from leaves(inner.field(number).type)
    elif pa.types.is_map(inner):
        yield from (*leaves(inner.key_type), *leaves(inner.item_type))
    else:
        yield inner


def is_bytes(kind: Any) -> bool:
    return any(check(kind) for check in _IS_BYTES)


def is_list(kind: Any) -> bool:
    return any(check(kind) for check in _IS_LIST)


def is_struct_of_bytes(kind: Any) -> bool:
    return bool(pa.types.is_struct(kind)) and kind.get_field_index("bytes") >= 0
