"""For ms-swift: JSON lines of messages with a rejected response.

ROOT_IMAGE_DIR=OUT swift rlhf --rlhf_type dpo --dataset OUT/train.jsonl --val_dataset OUT/validation.jsonl
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spavl.publishing.exports.common import IMAGE_MARK, SPLITS, break_image_marks, write_image, write_json_lines
from spavl.publishing.finished import samples_of
from spavl.records import Split
from spavl.store import RunFolder


def export(run: RunFolder, out: Path) -> dict[str, int]:
    return {split: write_json_lines(out / f"{split}.jsonl", _rows(run, out, split)) for split in SPLITS}


def _rows(run: RunFolder, out: Path, split: Split) -> Iterator[dict[str, Any]]:
    for sample in samples_of(run, split):
        yield {
            "messages": [
                {"role": "user", "content": IMAGE_MARK + break_image_marks(sample.question)},
                {"role": "assistant", "content": break_image_marks(sample.chosen)},
            ],
            "rejected_response": break_image_marks(sample.rejected),
            "images": [write_image(out, "images", sample.blob, run.blobs)],
        }
