"""Loads a checkpoint to train, and saves a trained one in the forms of transformers and peft."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from spavl.errors import ConfigError
from spavl.models.backends.hf import base_of, load_checkpoint
from spavl.models.factory import checkpoint_path
from spavl.store.files import filling
from spavl.training.config import TrainingConfig
from spavl.training.prefix_trees.attention import refuse_encoder_decoder

ADAPTER = "adapter_config.json"

_SIDE = 256
# The relative error of a matrix product with 256 terms: 3e-7 in float32, 3e-4 in TF32, 2e-3 in bfloat16.
_MAX_FLOAT32_ERROR = 1e-5
_VARIABLES = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, NVIDIA_TF32_OVERRIDE and ONEDNN_DEFAULT_FPMATH_MODE"


def load(settings: TrainingConfig, trusted: Collection[str] = ()) -> tuple[Any, Any]:
    """The processor, and the model in training mode."""
    path, is_qlora = checkpoint_path(settings.model), settings.trainable.language == "qlora"
    if is_qlora:
        _check_qlora(settings)
    disable_tf32()
    if is_qlora:
        from spavl.training.model.qlora import load_in_four_bits  # asks for bitsandbytes, which few installations have

        processor, model = load_in_four_bits(path, dtype=frozen_dtype(settings), trusted=trusted)
    else:
        processor, model = load_checkpoint(path, dtype=frozen_dtype(settings), trusted=trusted)
    if settings.loop.precision == "float32":
        check_float32(model.device)
    refuse_encoder_decoder(model)
    # Gradient checkpointing works in training mode only. Without dropout the two modes do not differ otherwise.
    model.train()
    if settings.loop.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return processor, model


def frozen_dtype(settings: TrainingConfig) -> str:
    """The dtype in which frozen weights are stored."""
    return "bfloat16" if settings.loop.precision == "bf16" else "float32"


def _check_qlora(settings: TrainingConfig) -> None:
    if settings.trainable.projector or settings.trainable.vision != "frozen":
        what = "qlora is saved as an adapter, which holds LoRA weights only"
        then = "set training.trainable.projector = false and training.trainable.vision = 'frozen'"
        raise ConfigError(what, where="training.trainable", then=then)
    if settings.loop.shard:
        then = "set training.loop.shard = false: weights in four bits are small"
        raise ConfigError("weights in four bits cannot be sharded", where="training.loop.shard", then=then)


def disable_tf32() -> None:
    """Images for GPUs are often shipped with TF32 switched on, and convolutions use it by default."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def check_float32(device: torch.device) -> None:
    """Refuse a device whose float32 products are rounded to TF32 or bfloat16, as an environment may have it."""
    if (error := float32_error(device)) > _MAX_FLOAT32_ERROR:
        raise ConfigError(
            f"a product of float32 matrices has a relative error of {error:.1g} on this device",
            where="training.loop.precision",
            then=f"unset {_VARIABLES}, or set training.loop.precision = 'bf16'",
        )


def float32_error(device: torch.device) -> float:
    """The relative error of a product of float32 matrices against the same product in float64."""
    rng = torch.Generator().manual_seed(0)
    one, other = (torch.randn(_SIDE, _SIDE, generator=rng) for _ in range(2))
    exact = one.double() @ other.double()
    found = (one.to(device) @ other.to(device)).double().cpu()
    return float((found - exact).norm() / exact.norm())


def save(folder: Path, model: Any, processor: Any) -> None:
    """Write a checkpoint into a folder.

    LoRA alone is saved as an adapter, which names its base model. If more was trained, the merged model is saved: not
    every server loads an adapter with a projector of its own.
    """
    saved = _as_saved(model)
    if isinstance(saved, PeftModel) and (commit := getattr(saved.get_base_model(), "commit", None)):
        # The revision of a base model on a hub: on other weights the adapter would be another model.
        for adapter in saved.peft_config.values():
            adapter.revision = adapter.revision or commit
    saved.save_pretrained(folder)
    processor.save_pretrained(folder)


def merge(adapter: Path, out: Path, trusted: Collection[str] = ()) -> None:
    """Save an adapter and its base as one merged model, for servers that load no adapters."""
    if not (adapter / ADAPTER).exists():
        then = "give the checkpoint of a run with training.trainable.language = lora; other checkpoints are whole"
        raise ConfigError(f"no adapter in this folder: {ADAPTER} is missing", where=str(adapter), then=then)
    if out.exists():
        raise ConfigError("this folder exists already", where=str(out), then="give another --out")
    processor, model = load_checkpoint(base_of(str(adapter)) or "", trusted=trusted)
    with filling(out) as folder:
        save(folder, PeftModel.from_pretrained(model, adapter).merge_and_unload(), processor)


def _as_saved(model: Any) -> Any:
    if not isinstance(model, PeftModel):
        return model
    is_lora_alone = all("lora_" in name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return model if is_lora_alone else model.merge_and_unload()
