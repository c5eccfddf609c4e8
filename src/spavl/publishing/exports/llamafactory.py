"""For LLaMA-Factory: ShareGPT conversations with a ranking, and the dataset_info.json that names them.

dataset_dir: OUT
dataset: spavl_train
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spavl.publishing.exports.common import IMAGE_MARK, SPLITS, break_image_marks, write_image, write_json_lines
from spavl.publishing.finished import samples_of
from spavl.records import Split
from spavl.store import RunFolder
from spavl.store.files import write_text


def export(run: RunFolder, out: Path) -> dict[str, int]:
    rows: dict[str, int] = {split: write_json_lines(out / f"{split}.jsonl", _rows(run, out, split)) for split in SPLITS}
    # An empty data set cannot be loaded, so it gets no entry.
    info = {f"spavl_{split}": _entry(split) for split, count in rows.items() if count}
    write_text(out / "dataset_info.json", json.dumps(info, indent=2) + "\n")
    return rows


def _rows(run: RunFolder, out: Path, split: Split) -> Iterator[dict[str, Any]]:
    for sample in samples_of(run, split):
        yield {
            "conversations": [{"from": "human", "value": IMAGE_MARK + break_image_marks(sample.question)}],
            "chosen": {"from": "gpt", "value": break_image_marks(sample.chosen)},
            "rejected": {"from": "gpt", "value": break_image_marks(sample.rejected)},
            "images": [write_image(out, "images", sample.blob, run.blobs)],
        }


def _entry(split: str) -> dict[str, Any]:
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    return {"file_name": f"{split}.jsonl", "formatting": "sharegpt", "ranking": True, "columns": columns}
