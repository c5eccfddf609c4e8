"""Tiny random models with the whole processors of their families: rows go in as questions, answers and images."""

from typing import Any

import torch
from benchmarks.tiny_models import tiny_of
from transformers import Blip2ForConditionalGeneration

from spavl.training.model.trainable import without_dropout
from tests.support.model_families import MAKERS, let_mistakes_show
from tests.support.processors import PROCESSORS, blip_2, paligemma

# What the vision tower must be for its processor's images, beside the tokens' numbers.
_EYES: dict[str, dict[str, Any]] = {
    "llava": {"image_size": 28, "patch_size": 14},
    "qwen2_vl": {"patch_size": 14},
    "internvl": {"image_size": [384, 384], "patch_size": [48, 48]},
    "gemma3": {"image_size": 224, "patch_size": 14},
    "paligemma": {"image_size": 28, "patch_size": 14},
    "paligemma2": {"image_size": 28, "patch_size": 14},
}
KINDS = tuple(_EYES)
_MARKS = {
    "video_token_id": "video_token",
    "boi_token_index": "boi_token",
    "eoi_token_index": "eoi_token",
}


def whole(kind: str, template: str | None = None) -> tuple[Any, Any]:
    """The processor and a model for it, whose weights are large enough for every mistake to show."""
    if kind == "blip-2":
        return _blip_2()
    is_pali = kind.startswith("paligemma")
    processor = paligemma(template) if is_pali else PROCESSORS[kind]()
    made = MAKERS[kind]().model
    config, tokenizer = made.config, processor.tokenizer
    config.text_config.vocab_size = len(tokenizer)
    for name, value in _EYES[kind].items():
        setattr(config.vision_config, name, value)
    for name, place in _MARKS.items():
        token = getattr(processor, place, None)
        if hasattr(config, name) and isinstance(token, str):
            setattr(config, name, tokenizer.convert_tokens_to_ids(token))
    # Gemma's processor calls the mark of an image's beginning its image token.
    config.image_token_id = (tokenizer if kind == "gemma3" else processor).image_token_id
    if kind == "qwen2_vl":
        config.vision_start_token_id, config.vision_end_token_id = tokenizer.convert_tokens_to_ids(
            ["<|vision_start|>", "<|vision_end|>"]
        )
    if kind == "gemma3":
        config.mm_tokens_per_image = 16
    torch.manual_seed(1)
    return processor, let_mistakes_show(type(made)(config).float().train())


def _blip_2() -> tuple[Any, Any]:
    """Neither its states nor its head are where most classes have them."""
    processor, config = blip_2(), tiny_of("blip-2").config
    config.text_config.vocab_size = len(processor.tokenizer)
    config.image_token_index = processor.tokenizer.convert_tokens_to_ids("<image>")
    torch.manual_seed(1)
    model = let_mistakes_show(Blip2ForConditionalGeneration(config).float().train())
    without_dropout(model)
    return processor, model
