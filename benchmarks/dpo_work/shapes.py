"""Models with random weights in the shapes of known ones, their processors, and data as long as SPA-VL's.

How long things are and how wide the layers are is all that speed depends on: images are noise, words are random.
"""

import io
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from spavl.records import Sample

QUESTIONS = 3
Blobs = dict[str, bytes]
_WORDS = 30_000
_LLAVA = ("<pad>", "<s>", "</s>", "<unk>", "<user>", "<assistant>", "<image>")
_QWEN = (*_LLAVA[:-1], "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
_TEMPLATE = (
    "{% for m in messages %}{{ '<user> ' if m.role == 'user' else '<assistant> ' }}"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{{ 'PICTURE ' if c.type == 'image' else c.text }}{% endfor %}{% endif %}"
    "{{ ' </s>' if m.role == 'assistant' else ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


class Shape(NamedTuple):
    """576 tokens an image in all of them. `narrow` asks for the same model a few numbers wide, to try the way."""

    side: int
    model: Callable[[bool], Any]
    processor: Callable[[], Any]


def new_data(images: int, side: int) -> tuple[list[Sample], Blobs]:
    """Questions of 20 to 50 tokens, answers of 60 to 120."""
    rng, noise = random.Random(0), np.random.default_rng(0)
    samples, blobs = [], {}

    def say(low: int, high: int) -> str:
        return " ".join(f"w{rng.randrange(_WORDS)}" for _ in range(rng.randint(low, high)))

    for k in range(images):
        stream = io.BytesIO()
        Image.fromarray(noise.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(stream, "PNG")
        blobs[str(k)] = stream.getvalue()
        for q in range(QUESTIONS):
            said = {"question": say(20, 50), "chosen": say(60, 120), "rejected": say(60, 120)}
            names = ("image_id", "preference_id", "chosen_model", "rejected_model")
            samples.append(
                Sample(
                    split="train",
                    leaf="",
                    blob=str(k),
                    question_id=f"{k}/{q}",
                    kind="easy",
                    harmful=True,
                    contrast="safety",
                    **said,
                    **dict.fromkeys(names, ""),
                )
            )
    return samples, blobs


def image_of(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _tokenizer(special: tuple[str, ...]) -> PreTrainedTokenizerFast:
    words = {word: k for k, word in enumerate((*special, *(f"w{k}" for k in range(_WORDS))))}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=list(special[4:]),
    )


def _llava_processor() -> LlavaProcessor:
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        tokenizer=_tokenizer(_LLAVA),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=_TEMPLATE.replace("PICTURE", "<image>"),
    )


class _QwenOfImages(Qwen2_5_VLProcessor):
    """Without its part for videos, which needs torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids([self.image_token, self.video_token])
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def _qwen_processor() -> Qwen2_5_VLProcessor:
    template = _TEMPLATE.replace("PICTURE", "<|vision_start|><|image_pad|><|vision_end|>")
    return _QwenOfImages(Qwen2VLImageProcessorPil(), _tokenizer(_QWEN), template)


def _llava(eye: dict[str, int], speech: dict[str, int]) -> LlavaForConditionalGeneration:
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**eye, image_size=336, patch_size=14),
        text_config=LlamaConfig(
            **speech,
            vocab_size=32_064,
            max_position_embeddings=4096,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        image_token_index=_LLAVA.index("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return LlavaForConditionalGeneration._from_config(config, dtype=torch.get_default_dtype())


def _wide(hidden: int, between: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": between,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


def _small_llava(narrow: bool) -> Any:
    """63 M parameters, which two cores can train."""
    return _llava(_wide(256, 1024, 6, 4), _wide(512, 1382, 8, 8))


def _llava_7b(narrow: bool) -> Any:
    if narrow:
        return _llava(_wide(32, 64, 3, 4), _wide(64, 128, 2, 4))
    return _llava(_wide(1024, 4096, 24, 16), _wide(4096, 11_008, 32, 32))


def _qwen_7b(narrow: bool) -> Any:
    width = 64 if narrow else 3584
    eye: dict[str, Any] = {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420}
    speech: dict[str, Any] = {**_wide(width, 18_944, 28, 28), "num_key_value_heads": 4, "vocab_size": 152_064}
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
    if narrow:
        eye |= {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "fullatt_block_indexes": [1]}
        speech |= {**_wide(width, 128, 2, 4), "num_key_value_heads": 2, "vocab_size": 32_064}
        rope["mrope_section"] = [2, 3, 3]
    config = Qwen2_5_VLConfig(
        vision_config={**eye, "out_hidden_size": width},
        text_config={**speech, "rope_parameters": rope, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        **{
            f"{name}_token_id": _QWEN.index(f"<|{mark}|>")
            for name, mark in (
                ("image", "image_pad"),
                ("video", "video_pad"),
                ("vision_start", "vision_start"),
                ("vision_end", "vision_end"),
            )
        },
    )
    return Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=torch.get_default_dtype())


SHAPES = {
    "small": Shape(336, _small_llava, _llava_processor),
    "llava-1.5-7b": Shape(336, _llava_7b, _llava_processor),
    "qwen2.5-vl-7b": Shape(672, _qwen_7b, _qwen_processor),
}
