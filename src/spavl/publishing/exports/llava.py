"""For LLaVA's own trainer: conversations about an image, with the chosen answer, for supervised tuning.

--data_path OUT/train.json --image_folder OUT
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spavl.publishing.exports.common import IMAGE_MARK, SPLITS, break_image_marks, write_image, write_json_array
from spavl.publishing.finished import samples_of
from spavl.records import Split
from spavl.store import RunFolder


def export(run: RunFolder, out: Path) -> dict[str, int]:
    return {split: write_json_array(out / f"{split}.json", _rows(run, out, split)) for split in SPLITS}


def _rows(run: RunFolder, out: Path, split: Split) -> Iterator[dict[str, Any]]:
    for sample in samples_of(run, split):
        yield {
            "id": sample.id,
            "image": write_image(out, "images", sample.blob, run.blobs),
            "conversations": [
                {"from": "human", "value": f"{IMAGE_MARK}\n{break_image_marks(sample.question)}"},
                {"from": "gpt", "value": break_image_marks(sample.chosen)},
            ],
        }
