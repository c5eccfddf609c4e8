"""The data set as people publish it: one Parquet file a split, with the pictures inside.

`datasets.load_dataset("parquet", ...)` reads it, pictures decoded. The first columns are
those of the published SPA-VL; the others say where a row came from.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.records import Category, Sample
from spavl.store.blobs import Blobs
from spavl.store.files import writing_to

_TEXT = ("question", "chosen", "rejected")
_CLASSES = ("class1", "class2", "class3")
_ORIGIN = (
    "image_id",
    "question_id",
    "preference_id",
    "kind",
    "contrast",
    "chosen_model",
    "rejected_model",
)
_STRINGS = (*_TEXT, "image_name", *_CLASSES, *_ORIGIN)
_FEATURES = {
    "image": {"_type": "Image"},
    **{name: {"dtype": "string", "_type": "Value"} for name in _STRINGS},
    "harmful": {"dtype": "bool", "_type": "Value"},
}
_SCHEMA = pa.schema(
    [
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        *(pa.field(name, pa.string()) for name in _STRINGS),
        pa.field("harmful", pa.bool_()),
    ],
    # What the `datasets` library looks for, to know that the column holds pictures.
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)
_ROWS_PER_GROUP = 100


def export(folder: Path, split: str, samples: Iterable[Sample], leaves: dict[str, Category], blobs: Blobs) -> None:
    rows = _rows(samples, leaves, blobs)
    target = folder / f"{split}-00000-of-00001.parquet"
    with writing_to(target) as temporary, pq.ParquetWriter(temporary, _SCHEMA, compression="zstd") as writer:
        while group := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=_SCHEMA))


def _rows(samples: Iterable[Sample], leaves: dict[str, Category], blobs: Blobs) -> Iterator[dict[str, Any]]:
    for sample in samples:
        name = f"{sample.blob[:16]}.png" if blobs.get(sample.blob).startswith(b"\x89PNG") else f"{sample.blob[:16]}.jpg"
        yield {
            "image": {"bytes": blobs.get(sample.blob), "path": name},
            "image_name": name,
            "harmful": sample.harmful,
            **dict(zip(_CLASSES, leaves[sample.leaf].published, strict=True)),
            **{column: getattr(sample, column) for column in (*_TEXT, *_ORIGIN)},
        }
