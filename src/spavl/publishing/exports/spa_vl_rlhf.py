"""For the SPA-VL paper's own training code: the `*_train.json` files that it reads and that were never published.

It wants integer ids, images in folders by class, and a config that maps each kind of
question to its file; the hard questions' keyword is `hardd` there.

    --config_train_path OUT/train.json --keywords easy hardd hards --image_folder OUT/images
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spavl.publishing.exports.common import SPLITS, break_image_marks, write_image, write_json_array
from spavl.publishing.finished import categories_of, samples_of
from spavl.records import QuestionKind, Split
from spavl.store import RunFolder
from spavl.store.files import write_text

_KEYWORDS: dict[QuestionKind, str] = {"easy": "easy", "hard": "hardd", "statement": "hards"}

# Replaced in class names, because folder names cannot contain it.
_FORBIDDEN = re.compile(r"[/\\\0]|^\.+$")


def export(run: RunFolder, out: Path) -> dict[str, int]:
    rows: dict[str, int] = {}
    for split in SPLITS:
        files = {keyword: out / f"{keyword}_{split}.json" for keyword in sorted({*map(_keyword, _kinds(run))})}
        rows[split] = sum(write_json_array(file, _rows(run, out, split, keyword)) for keyword, file in files.items())
        config = {keyword: str(file.resolve()) for keyword, file in files.items()}
        write_text(out / f"{split}.json", json.dumps(config, indent=2) + "\n")
    return rows


def _kinds(run: RunFolder) -> set[QuestionKind]:
    return {sample.kind for split in SPLITS for sample in samples_of(run, split)}


def _keyword(kind: QuestionKind) -> str:
    return _KEYWORDS.get(kind, kind)


def _rows(run: RunFolder, out: Path, split: Split, keyword: str) -> Iterator[dict[str, Any]]:
    leaves = categories_of(run)
    for number, sample in enumerate(samples_of(run, split)):
        if _keyword(sample.kind) == keyword:
            folder = "/".join(_FORBIDDEN.sub("-", part) for part in leaves[sample.leaf].published)
            image = write_image(out, f"images/{folder}", sample.blob, run.blobs)
            yield {
                "id": number,
                "image": image.removeprefix("images/"),
                "question": break_image_marks(sample.question),
                "chosen": break_image_marks(sample.chosen),
                "rejected": break_image_marks(sample.rejected),
            }
