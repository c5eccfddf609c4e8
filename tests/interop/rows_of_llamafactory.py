"""What LLaMA-Factory makes of an export, by its own loader, template and collator; run by its own Python.

python rows_of_llamafactory.py EXPORT MODEL RESULT
"""

import hashlib
import json
import sys
from pathlib import Path

from llamafactory.data import PairwiseDataCollatorWithPadding, get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from PIL import Image

export, model, result = sys.argv[1:]


def rows(split: str) -> list[tuple[str, str, str, list[str]]]:
    settings = {
        "stage": "dpo",
        "do_train": True,
        "model_name_or_path": model,
        "dataset_dir": export,
        "dataset": f"spavl_{split}",
        "template": "llava",
        "cutoff_len": 4096,
        "overwrite_cache": True,
        "output_dir": f"{result}.out",
        "report_to": "none",
    }
    model_args, data_args, training_args, *_ = get_train_args(settings)
    tools = load_tokenizer(model_args)
    tokenizer = tools["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    made = get_dataset(template, model_args, data_args, training_args, stage="rm", **tools)["train_dataset"]
    collate = PairwiseDataCollatorWithPadding(template=template, **tools)
    # The chosen and the rejected answers of a batch are a row each, and each has its image.
    assert len(collate(list(made))["pixel_values"]) == 2 * len(made)

    def answer(labels: list[int]) -> str:
        return tokenizer.decode([token for token in labels if token >= 0], skip_special_tokens=True)

    def prompt(row: dict) -> str:
        asked = zip(row["chosen_input_ids"], row["chosen_labels"], strict=True)
        return tokenizer.decode([token for token, label in asked if label < 0], skip_special_tokens=True)

    return [
        (prompt(row), answer(row["chosen_labels"]), answer(row["rejected_labels"]), [*map(pixels, row["images"])])
        for row in made
    ]


def pixels(path: str) -> str:
    return hashlib.sha256(Image.open(path).convert("RGB").tobytes()).hexdigest()


Path(result).write_text(json.dumps({split: rows(split) for split in ("train", "validation")}))
