"""Trained models on disk, in the forms of transformers and peft."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from peft import PeftModel

from spavl.errors import ConfigError
from spavl.models.backends.hf import base_of, load_checkpoint
from spavl.store.files import filling

ADAPTER = "adapter_config.json"


def save(folder: Path, model: Any, processor: Any) -> None:
    """Write a checkpoint into a folder.

    LoRA by itself becomes an adapter, which names its base. Where more was trained, the model is written whole:
    an adapter that brings its own projector is not read everywhere.
    """
    saved = _as_saved(model)
    if isinstance(saved, PeftModel) and (commit := getattr(saved.get_base_model(), "commit", None)):
        # Of a base on a hub: an adapter on other weights is another model.
        for adapter in saved.peft_config.values():
            adapter.revision = adapter.revision or commit
    saved.save_pretrained(folder)
    processor.save_pretrained(folder)


def merge(adapter: Path, out: Path, trusted: Collection[str] = ()) -> None:
    """An adapter and its base as one whole model, for servers that load no adapters."""
    if not (adapter / ADAPTER).exists():
        then = "give the checkpoint of a run whose training.trainable.language was lora; others are whole already"
        raise ConfigError(f"no adapter in this folder: {ADAPTER} is missing", where=str(adapter), then=then)
    if out.exists():
        raise ConfigError("there is something in this place already", where=str(out), then="give another --out")
    processor, model = load_checkpoint(base_of(str(adapter)) or "", trusted=trusted)
    with filling(out) as folder:
        save(folder, PeftModel.from_pretrained(model, adapter).merge_and_unload(), processor)


def _as_saved(model: Any) -> Any:
    if not isinstance(model, PeftModel):
        return model
    alone = all("lora_" in name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return model if alone else model.merge_and_unload()
