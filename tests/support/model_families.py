"""Tiny random models of every family, with made-up images as their processors would give them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

WORDS, IMAGE, BEGIN, END, VIDEO = 200, 190, 191, 192, 193
_EYE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_SMALL_EYE = {**_EYE, "image_size": 16, "patch_size": 4}


def _speech(**more: Any) -> dict[str, Any]:
    return {
        "vocab_size": WORDS,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **more,
    }


# Images come in so many sizes, where their family knows more than one.
SIZES = 3


class Shown(NamedTuple):
    """An image as the processor of its family gives it, and how many tokens it takes."""

    width: int
    tensors: dict[str, Tensor]


class Tiny(NamedTuple):
    model: Any
    # An image of one of its sizes.
    image: Callable[[int], Shown]
    # The marks that plain rows need beside `attention_mask`.
    marks: Callable[[Tensor, Tensor], dict[str, Tensor]]

    @property
    def width(self) -> int:
        return self.image(0).width

    def images(self, number: int) -> dict[str, Tensor]:
        return together([self.image(0) for _ in range(number)])


def together(shown: Sequence[Shown]) -> dict[str, Tensor]:
    """Several images, as processors lay them beside each other: parts of the smaller ones are filled up."""
    return {name: torch.cat(_filled_up([each.tensors[name] for each in shown])) for name in shown[0].tensors}


def _filled_up(values: list[Tensor]) -> list[Tensor]:
    parts = max(each.shape[1] for each in values)
    return [torch.cat([each, each.new_zeros(len(each), parts - each.shape[1], *each.shape[2:])], 1) for each in values]


def _no_marks(ids: Tensor, prompt: Tensor) -> dict[str, Tensor]:
    return {}


def _square(width: int) -> Callable[[int], Shown]:
    return lambda size: Shown(width, {"pixel_values": torch.randn(1, 3, 16, 16)})


def _llava(speech: dict[str, Any]) -> Tiny:
    config = LlavaConfig(
        # The last block is not read.
        vision_config={"model_type": "clip_vision_model", "projection_dim": 16, **_SMALL_EYE, "num_hidden_layers": 3},
        text_config=speech,
        image_token_index=IMAGE,
        vision_feature_layer=-2,
    )
    return Tiny(LlavaForConditionalGeneration(config), _square(16), _no_marks)


def _llava_next() -> Tiny:
    config = LlavaNextConfig(
        # The last block is not read.
        vision_config={"model_type": "clip_vision_model", "projection_dim": 16, **_SMALL_EYE, "num_hidden_layers": 3},
        text_config={"model_type": "llama", **_speech()},
        image_token_index=IMAGE,
        vision_feature_layer=-2,
        image_grid_pinpoints=[[16, 32], [32, 16], [16, 16]],
    )

    def an_image(size: int) -> Shown:
        # One look at the whole, one at each of its squares, and a line's end for each of their rows.
        high, wide = [(16, 32), (32, 16), (16, 16)][size]
        squares = high * wide // 256
        pixels = torch.randn(1, 1 + squares, 3, 16, 16)
        return Shown(
            16 + 16 * squares + high // 4, {"pixel_values": pixels, "image_sizes": torch.tensor([[high, wide]])}
        )

    return Tiny(LlavaNextForConditionalGeneration(config), an_image, _no_marks)


def _qwen(kind: str) -> Tiny:
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    marks = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": BEGIN}
    marks["vision_end_token_id"] = END
    eye = {"depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2}
    eye["in_channels"] = 3
    speech = _speech(rope_parameters=rope)
    model: Any
    if kind == "qwen2_vl":
        eye |= {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
        model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=speech, vision_config=eye, **marks))
    elif kind == "qwen2_5_vl":
        more = {"out_hidden_size": 32, "window_size": 16, "fullatt_block_indexes": [1]}
        eye |= {"hidden_size": 16, "intermediate_size": 32, **more}
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=speech, vision_config=eye, **marks))
    else:
        more = {"out_hidden_size": 32, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
        eye |= {"depth": 3, "hidden_size": 16, "intermediate_size": 32, **more}
        speech["head_dim"] = 8
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=speech, vision_config=eye, **marks))

    def an_image(size: int) -> Shown:
        high, wide = [(4, 8), (8, 4), (2, 4)][size]
        pixels = torch.randn(high * wide, 3 * 2 * 16)
        return Shown(high * wide // 4, {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, high, wide]])})

    return Tiny(model, an_image, lambda ids, prompt: {"mm_token_type_ids": (ids == IMAGE).int()})


def _idefics(config: Any, model: Any) -> Tiny:
    made = config(
        vision_config=_SMALL_EYE,
        text_config={"model_type": "llama", **_speech()},
        image_token_id=IMAGE,
        scale_factor=2,
    )

    def an_image(size: int) -> Shown:
        tiles = 1 + size
        ones = torch.ones(1, tiles, 16, 16, dtype=torch.long)
        return Shown(4 * tiles, {"pixel_values": torch.randn(1, tiles, 3, 16, 16), "pixel_attention_mask": ones})

    return Tiny(model(made), an_image, _no_marks)


def _internvl() -> Tiny:
    config = InternVLConfig(
        vision_config={**_EYE, "image_size": [16, 16], "patch_size": [4, 4]},
        text_config={"model_type": "qwen2", **_speech()},
        image_token_id=IMAGE,
        downsample_ratio=0.5,
    )
    return Tiny(InternVLForConditionalGeneration(config), _square(4), _no_marks)


def _gemma3(window: int) -> Tiny:
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    config = Gemma3Config(
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **_SMALL_EYE},
        text_config=_speech(head_dim=8, sliding_window=window, layer_types=layers),
        image_token_id=IMAGE,
        image_token_index=IMAGE,
        boi_token_index=BEGIN,
        eoi_token_index=END,
        mm_tokens_per_image=4,
    )
    marks = lambda ids, prompt: {"token_type_ids": (ids == IMAGE).int()}  # noqa: E731
    return Tiny(Gemma3ForConditionalGeneration(config), _square(4), marks)


def _paligemma(speech: dict[str, Any]) -> Tiny:
    config = PaliGemmaConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            "vision_use_head": False,
            "projection_dim": 32,
            **_SMALL_EYE,
        },
        text_config=speech,
        image_token_id=IMAGE,
        image_token_index=IMAGE,
        projection_dim=32,
        hidden_size=32,
    )
    marks = lambda ids, prompt: {"token_type_ids": (~prompt).long()}  # noqa: E731
    return Tiny(PaliGemmaForConditionalGeneration(config), _square(16), marks)


MAKERS: dict[str, Callable[[], Tiny]] = {
    "llava": lambda: _llava({"model_type": "llama", **_speech()}),
    # Its tokens see only what is near, and not all of an image.
    "llava_mistral": lambda: _llava({"model_type": "mistral", **_speech(sliding_window=8)}),
    "llava_next": _llava_next,
    "qwen2_vl": lambda: _qwen("qwen2_vl"),
    "qwen2_5_vl": lambda: _qwen("qwen2_5_vl"),
    "qwen3_vl": lambda: _qwen("qwen3_vl"),
    "smolvlm": lambda: _idefics(SmolVLMConfig, SmolVLMForConditionalGeneration),
    "idefics3": lambda: _idefics(Idefics3Config, Idefics3ForConditionalGeneration),
    "internvl": _internvl,
    "gemma3": lambda: _gemma3(8),
    # Its window is narrower than an image.
    "gemma3_narrow": lambda: _gemma3(2),
    "paligemma": lambda: _paligemma({"model_type": "gemma", **_speech(head_dim=8)}),
    # It caps its logits, as if its answers could never be sure.
    "paligemma2": lambda: _paligemma(
        {"model_type": "gemma2", **_speech(head_dim=8, sliding_window=64, final_logit_softcapping=1.0)}
    ),
}


def tiny(kind: str, dtype: torch.dtype) -> Tiny:
    """A model whose weights are large enough for every mistake in a mask to show."""
    torch.manual_seed(1)
    made = MAKERS[kind]()
    return made._replace(model=let_mistakes_show(made.model.to(dtype).train()))


def let_mistakes_show(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15)
    return model
