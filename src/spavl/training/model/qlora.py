"""QLoRA: frozen weights in four bits, with LoRA in full precision (arXiv 2305.14314)."""

import importlib.util
from collections.abc import Collection
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

from spavl.errors import MissingExtra, TrainingError, how_to_install
from spavl.models.backends.hf import ONLY_WEIGHTS, cannot_load, commit_of, load_processor
from spavl.models.remote_code import opening
from spavl.training.model.anatomy import linear_layers

# Bytes of one weight: half a byte, and its part of the double-quantized scales.
BYTES = 0.5 + 0.127 / 8


def load_in_four_bits(path: str, dtype: str, trusted: Collection[str] = ()) -> tuple[Any, Any]:
    """The processor, and the model with its language model's linear layers in four bits."""
    if importlib.util.find_spec("bitsandbytes") is None:
        then = how_to_install("qlora")
        raise MissingExtra("weights in four bits need bitsandbytes", where="training.trainable.language", then=then)
    kind, device = getattr(torch, dtype), "cuda" if torch.cuda.is_available() else "cpu"
    processor = load_processor(path, trusted)
    try:
        place, how = opening(path, trusted)
        config = AutoConfig.from_pretrained(place, **how)
        with torch.device("meta"):
            skeleton = AutoModelForImageTextToText.from_config(config, trust_remote_code=how["trust_remote_code"])
        squeezed = set(linear_layers(skeleton))
        model = AutoModelForImageTextToText.from_pretrained(
            place,
            **how,
            **ONLY_WEIGHTS,
            dtype=kind,
            device_map={"": device},
            quantization_config=BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=kind,
                llm_int8_skip_modules=[
                    name for name, module in skeleton.named_modules() if _is_linear(module) and name not in squeezed
                ],
            ),
        )
    except (OSError, ValueError) as error:
        raise cannot_load(path, error) from error
    check_four_bits(model)
    _keep_trainable(model)
    model.commit = commit_of(path)
    return processor, model


def check_four_bits(model: Any) -> None:
    """Check that exactly the linear layers of the language model without its head are in four bits."""
    meant = set(linear_layers(model))
    found = {name for name, module in model.named_modules() if _is_linear(module) and _in_four_bits(module.weight)}
    if meant != found:
        odd = sorted(meant ^ found)[0]
        raise TrainingError(
            f"{odd} is in the wrong number of bits", where="training.trainable.language", then="use lora"
        )


def _keep_trainable(model: Any) -> None:
    """Switch off repacking: on processors with AVX512-BF16 bitsandbytes repacks weights for inference at the first pass
    without gradients, and then no gradient passes through them.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


def _in_four_bits(weight: Any) -> bool:
    return weight.dtype == torch.uint8 and hasattr(weight, "quant_state")
