"""What ms-swift makes of an export, by its own loader and template; run by its own Python.

ROOT_IMAGE_DIR=EXPORT python rows_of_ms_swift.py EXPORT MODEL RESULT
"""

import hashlib
import json
import sys
from pathlib import Path

from swift.dataset import load_dataset
from swift.model import get_processor
from swift.template import get_template

export, model, result = sys.argv[1:]
processor = get_processor(model, model_type="llava1_5_hf")
template = get_template(processor)
template.set_mode("rlhf")
tokenizer = processor.tokenizer


def rows(split: str) -> list[tuple[str, str, str, list[str]]]:
    made, _ = load_dataset([f"{export}/{split}.jsonl"], strict=True)
    return [seen(template.encode(row, return_template_inputs=True)) for row in made]


def seen(row: dict) -> tuple[str, str, str, list[str]]:
    assert len(row["chosen_pixel_values"]) == len(row["rejected_pixel_values"]) == 1
    asked = zip(row["chosen_input_ids"], row["chosen_labels"], strict=True)
    prompt = tokenizer.decode([token for token, label in asked if label < 0], skip_special_tokens=True)
    return (
        prompt,
        answer(row["chosen_labels"]),
        answer(row["rejected_labels"]),
        [hashlib.sha256(image.convert("RGB").tobytes()).hexdigest() for image in row["template_inputs"].images],
    )


def answer(labels: list[int]) -> str:
    return tokenizer.decode([token for token in labels if token >= 0], skip_special_tokens=True)


Path(result).write_text(json.dumps({split: rows(split) for split in ("train", "validation")}))
