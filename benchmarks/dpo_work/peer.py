"""TRL's DPOTrainer, set to do what ours does: the same model, data, order, loss and optimizer."""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from typing import Any

from benchmarks.dpo_work.shapes import Blobs, image_of
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from spavl.records import Sample

NAME = f"TRL {version('trl')} DPOTrainer"


def train_with_trl(
    model: Any,
    processor: Any,
    order: Sequence[Sample],
    blobs: Blobs,
    settings: dict[str, Any],
    **more: Any,
) -> list[float]:
    """Train on samples in their order; gives the losses of the steps."""
    rows = {
        "images": [[image_of(blobs[sample.blob])] for sample in order],
        "prompt": [[{"role": "user", "content": sample.question}] for sample in order],
        "chosen": [[{"role": "assistant", "content": sample.chosen}] for sample in order],
        "rejected": [[{"role": "assistant", "content": sample.rejected}] for sample in order],
    }
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder,
            lr_scheduler_type="cosine",
            num_train_epochs=1,
            max_length=None,
            train_sampling_strategy="sequential",
            optim="adamw_torch_fused",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **settings,
        )
        trainer = DPOTrainer(
            model=model, args=config, train_dataset=Dataset.from_dict(rows), processing_class=processor, **more
        )
        # All that TRL prints goes beside, for standard output is the record's.
        with redirect_stdout(sys.stderr):
            trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
