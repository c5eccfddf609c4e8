"""For TRL: Parquet with images inside and conversations as DPOTrainer and RewardTrainer take them.

datasets.load_dataset("parquet", data_files={"train": "OUT/train-*.parquet"})
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from spavl.data.dataset.shards import IMAGE, image_of, write_shards
from spavl.publishing.exports.common import SPLITS, break_image_marks
from spavl.publishing.finished import samples_of
from spavl.records import Split
from spavl.store import RunFolder

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_SCHEMA = pa.schema([("images", pa.list_(IMAGE)), *((name, _MESSAGES) for name in ("prompt", "chosen", "rejected"))])
_SHARD_MB = 500


def export(run: RunFolder, out: Path) -> dict[str, int]:
    return {split: write_shards(out, split, _SCHEMA, _rows(run, split), _SHARD_MB).rows for split in SPLITS}


def _rows(run: RunFolder, split: Split) -> Iterator[dict[str, Any]]:
    for sample in samples_of(run, split):
        yield {
            "images": [image_of(sample.blob, run.blobs)],
            "prompt": [{"role": "user", "content": break_image_marks(sample.question)}],
            "chosen": [{"role": "assistant", "content": break_image_marks(sample.chosen)}],
            "rejected": [{"role": "assistant", "content": break_image_marks(sample.rejected)}],
        }
