"""The families of the miniature, LLaVA's and Qwen2-VL's architectures. Both are trained on the same lessons.

A family says what its model and processor are, how scenes become its inputs, and how a prompt is written in its tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from spavl.miniature.lessons import Lesson, vocabulary
from spavl.miniature.world import NOUNS, SIZE, Scene, draw, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.models.backends.processors import images_only
from spavl.models.factory import miniature_checkpoint

PATCH = 16
PATCHES = (SIZE // PATCH) ** 2
# The width of both towers' hidden states.
TOWER_WIDTH = 96


class PatchStates(NamedTuple):
    """The last hidden states of a tower's patches, and the number of the image of each patch."""

    states: Tensor
    image_N: Tensor


class MiniatureFamily(NamedTuple):
    """What differs between the families; the code that trains them is the same."""

    new_processor: Callable[[], Any]
    new_model: Callable[[], Any]
    # Sets the weights that the tower starts from; random ones are left as they are.
    start_tower: Callable[[Any], None]
    tower: Callable[[Any], Any]
    # The image inputs of scenes, as the family's own processor would make them, without its cost.
    image_inputs: Callable[[Sequence[Scene]], dict[str, Tensor]]
    patch_states: Callable[[Any, Mapping[str, Tensor]], PatchStates]
    # The tokens of a lesson's prompt and of its answer.
    spell: Callable[[Lesson], tuple[list[str], list[str]]]
    # Further inputs that depend on the token ids.
    marks: Callable[[Any, Tensor], dict[str, Tensor]]
    # Parameters of the tower that the training of the tower does not read.
    unread: Callable[[Any], Any]
    saved_as: torch.dtype


def _word_tokenizer(special: Sequence[str], words: Sequence[str], **named: Any) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    numbers = {word: number for number, word in enumerate((*special, *words))}
    plain = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    plain.normalizer = normalizers.Lowercase()
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>", clean_up_tokenization_spaces=False, **named
    )


_LLAVA_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "<system>", "<user>", "<assistant>")
_LLAVA_TEMPLATE = (
    "<s>{% for message in messages %} <{{ message.role }}>"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %} <image>{% else %} {{ part.text }}{% endif %}"
    "{% endfor %}"
    "{% if message.role == 'assistant' %} </s>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %} <assistant>{% endif %}"
)


def _llava_processor() -> LlavaProcessor:
    tokenizer = _word_tokenizer(
        _LLAVA_SPECIAL,
        vocabulary(),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", "<system>", "<user>", "<assistant>"],
    )
    images = CLIPImageProcessorPil(
        size={"height": SIZE, "width": SIZE},
        do_center_crop=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=_LLAVA_TEMPLATE,
    )


def _llava_model() -> LlavaForConditionalGeneration:
    """A LLaVA of 1.3 M parameters with random weights."""
    vision = CLIPVisionConfig(
        hidden_size=TOWER_WIDTH,
        intermediate_size=288,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
    )
    speech = LlamaConfig(
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        vocab_size=len(_LLAVA_SPECIAL) + len(vocabulary()),
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=speech,
            image_token_index=_LLAVA_SPECIAL.index("<image>"),
            image_seq_length=PATCHES,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            tie_word_embeddings=True,
        )
    )


def _llava_inputs(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    drawn = np.stack([np.asarray(draw(seen)) for seen in scenes])
    return {"pixel_values": torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1}


def _llava_patches(tower: Any, inputs: Mapping[str, Tensor]) -> PatchStates:
    states = tower(pixel_values=inputs["pixel_values"]).last_hidden_state[:, 1:]
    return PatchStates(states, torch.arange(len(states)).repeat_interleave(PATCHES))


def _llava_tokens(lesson: Lesson) -> tuple[list[str], list[str]]:
    system = ["<system>", *lesson.system.split()] if lesson.system else []
    prompt = ["<s>", *system, "<user>", *["<image>"] * PATCHES, *lesson.request.split(), "<assistant>"]
    return prompt, [*lesson.answer.split(), "</s>"]


LLAVA = MiniatureFamily(
    new_processor=_llava_processor,
    new_model=_llava_model,
    start_tower=lambda tower: None,
    tower=lambda model: model.model.vision_tower,
    image_inputs=_llava_inputs,
    patch_states=_llava_patches,
    spell=_llava_tokens,
    marks=lambda model, ids_BT: {},
    # The norm of the pooled output.
    unread=lambda tower: tower.post_layernorm,
    saved_as=torch.float32,
)

# Four patches are one token of the language model.
_MERGE = 2
_LARGE = SIZE + PATCH * _MERGE
# The sizes of a scene, high and wide, by the last digit of its seed in base 8: five eighths are as drawn.
_SIZES = (*[(SIZE, SIZE)] * 5, (SIZE, _LARGE), (_LARGE, SIZE), (_LARGE, _LARGE))
_START, _END = "<|im_start|>", "<|im_end|>"
_IMAGE, _VIDEO = "<|image_pad|>", "<|video_pad|>"
_IMAGE_START, _IMAGE_END = "<|vision_start|>", "<|vision_end|>"
_QWEN_SPECIAL = ("<|endoftext|>", _START, _END, "<unk>", _IMAGE_START, _IMAGE_END, _IMAGE, _VIDEO)
_ROLES = ("system", "user", "assistant")
_QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _qwen_processor() -> Any:
    images = Qwen2VLImageProcessorPil(
        size={"shortest_edge": SIZE**2, "longest_edge": _LARGE**2},
        patch_size=PATCH,
        merge_size=_MERGE,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    tokenizer = _word_tokenizer(
        _QWEN_SPECIAL,
        (*_ROLES, *vocabulary()),
        eos_token=_END,
        pad_token="<|endoftext|>",
        additional_special_tokens=[_START, _IMAGE_START, _IMAGE_END, _IMAGE, _VIDEO],
    )
    made = images_only(Qwen2VLProcessor)(images, tokenizer, None, _QWEN_TEMPLATE)
    # For installations with torchvision, where transformers makes the video processor as well.
    made.video_settings = {
        "video_processor_type": "Qwen2VLVideoProcessor",
        "patch_size": PATCH,
        "merge_size": _MERGE,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    return made


def _qwen_model() -> Qwen2VLForConditionalGeneration:
    """A Qwen2-VL of 1.4 M parameters with random weights."""
    vision = {"depth": 4, "embed_dim": TOWER_WIDTH, "hidden_size": 128, "num_heads": 4, "mlp_ratio": 3}
    vision |= {"patch_size": PATCH, "spatial_merge_size": _MERGE, "temporal_patch_size": 2}
    speech = {
        "hidden_size": 128,
        "intermediate_size": 288,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(_QWEN_SPECIAL) + len(_ROLES) + len(vocabulary()),
        "max_position_embeddings": 256,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": _QWEN_SPECIAL.index(_END),
    }
    return Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(
            vision_config=vision,
            text_config=speech,
            tie_word_embeddings=True,
            image_token_id=_QWEN_SPECIAL.index(_IMAGE),
            video_token_id=_QWEN_SPECIAL.index(_VIDEO),
            vision_start_token_id=_QWEN_SPECIAL.index(_IMAGE_START),
            vision_end_token_id=_QWEN_SPECIAL.index(_IMAGE_END),
        )
    )


@torch.no_grad()
def _start_from_clip(tower: Any) -> None:
    """Start from the trained CLIP tower of `miniature/base`, which saves most of the time of training a tower.

    The two have the same blocks. Its positions have no counterpart here: they are left out, and its first norm is
    replaced by the scale that it has on average.
    """
    clip = load_checkpoint(miniature_checkpoint(), dtype="float32")[1].model.vision_tower.cpu()
    pixels = _llava_inputs([scene(place, 0, 0, live=True) for place in range(len(NOUNS))])["pixel_values"]
    scale_H = clip.pre_layrnorm.weight / clip.embeddings(pixels).std(-1).mean()
    filters = clip.embeddings.patch_embedding.weight * scale_H[:, None, None, None]
    # The two frames of an image are equal, and are summed.
    tower.patch_embed.proj.weight.copy_((filters / 2)[:, :, None].expand_as(tower.patch_embed.proj.weight))
    for block, layer in zip(tower.blocks, clip.encoder.layers, strict=True):
        read = [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]
        block.attn.qkv.weight.copy_(torch.cat([each.weight for each in read]))
        block.attn.qkv.bias.copy_(torch.cat([each.bias for each in read]))
        for into, source in (
            (block.attn.proj, layer.self_attn.out_proj),
            (block.mlp.fc1, layer.mlp.fc1),
            (block.mlp.fc2, layer.mlp.fc2),
            (block.norm1, layer.layer_norm1),
            (block.norm2, layer.layer_norm2),
        ):
            into.load_state_dict(source.state_dict())


def size_of(seen: Scene) -> tuple[int, int]:
    """The height and the width at which Qwen2-VL's sibling is shown a scene in its lessons."""
    return _SIZES[seen.seed % len(_SIZES)]


def at_size(seen: Scene, size: tuple[int, int]) -> Image.Image:
    high, wide = size
    drawn = draw(seen)
    return drawn if size == (SIZE, SIZE) else drawn.resize((wide, high), Image.Resampling.BICUBIC)


def _qwen_inputs(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    patches, grids = [], []
    for seen in scenes:
        high, wide = (side // PATCH for side in size_of(seen))
        pixels = np.asarray(at_size(seen, size_of(seen)), dtype=np.float32) / 127.5 - 1
        # Patches in the order of their tokens: four of one token after each other.
        split = pixels.reshape(high // _MERGE, _MERGE, PATCH, wide // _MERGE, _MERGE, PATCH, 3)
        ordered = split.transpose(0, 3, 1, 4, 6, 2, 5)[:, :, :, :, :, None]
        # An image is two equal frames.
        patches.append(np.repeat(ordered, 2, axis=5).reshape(high * wide, -1))
        grids.append([1, high, wide])
    return {"pixel_values": torch.from_numpy(np.concatenate(patches)), "image_grid_thw": torch.tensor(grids)}


def _qwen_patches(tower: Any, inputs: Mapping[str, Tensor]) -> PatchStates:
    grid = inputs["image_grid_thw"]
    states = tower(inputs["pixel_values"], grid_thw=grid).last_hidden_state
    return PatchStates(states, torch.arange(len(grid)).repeat_interleave(grid.prod(-1)))


def _qwen_tokens(lesson: Lesson) -> tuple[list[str], list[str]]:
    high, wide = size_of(lesson.scene)
    image = [_IMAGE] * (high * wide // (PATCH * _MERGE) ** 2)
    system = [_START, "system", *lesson.system.split(), _END] if lesson.system else []
    user = [_START, "user", _IMAGE_START, *image, _IMAGE_END, *lesson.request.split(), _END]
    return [*system, *user, _START, "assistant"], [*lesson.answer.split(), _END]


QWEN2_VL = MiniatureFamily(
    new_processor=_qwen_processor,
    new_model=_qwen_model,
    start_tower=_start_from_clip,
    tower=lambda model: model.model.visual,
    image_inputs=_qwen_inputs,
    patch_states=_qwen_patches,
    spell=_qwen_tokens,
    marks=lambda model, ids_BT: {"mm_token_type_ids": (ids_BT == model.config.image_token_id).int()},
    # It is the projector of this family, which is trained with the language model.
    unread=lambda tower: tower.merger,
    saved_as=torch.bfloat16,
)

FAMILIES: Mapping[str, MiniatureFamily] = MappingProxyType({"llava": LLAVA, "qwen2_vl": QWEN2_VL})
