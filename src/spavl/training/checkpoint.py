"""Trained models on disk, in the forms of transformers and peft."""

import json
from pathlib import Path
from typing import Any

from peft import PeftModel

from spavl.errors import ConfigError
from spavl.models.hf import load_checkpoint
from spavl.store.files import filling

ADAPTER = "adapter_config.json"


def save(folder: Path, model: Any, processor: Any) -> None:
    """Write a checkpoint into a folder.

    LoRA by itself becomes an adapter, which names its base. Where more was trained, the model is written whole:
    an adapter that brings its own projector is not read everywhere.
    """
    _as_saved(model).save_pretrained(folder)
    processor.save_pretrained(folder)


def merge(adapter: Path, out: Path) -> None:
    """An adapter and its base as one whole model, for servers that load no adapters."""
    if not (adapter / ADAPTER).exists():
        then = "give the checkpoint of a run whose training.parts.language was lora; others are whole already"
        raise ConfigError(f"no adapter in this folder: {ADAPTER} is missing", where=str(adapter), then=then)
    if out.exists():
        raise ConfigError("there is something in this place already", where=str(out), then="give another --out")
    base = json.loads((adapter / ADAPTER).read_text())["base_model_name_or_path"]
    processor, model = load_checkpoint(base)
    with filling(out) as folder:
        save(folder, PeftModel.from_pretrained(model, adapter).merge_and_unload(), processor)


def _as_saved(model: Any) -> Any:
    if not isinstance(model, PeftModel):
        return model
    alone = all("lora_" in name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return model if alone else model.merge_and_unload()
