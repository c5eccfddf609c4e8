"""Tiny random models of every image-text-to-text class of transformers, made from its own default configuration.

All widths are divided by the same number, heads and their sizes to match, and words and layers are few. Nothing is
downloaded: what a class cannot be made of without a file or a package that is not here is told, and not made.
"""

import contextlib
import copy
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor
from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from spavl.training.model.trainable import without_dropout

WORDS, _MARKS = 288, 60
_LAYERS = re.compile(
    r"(num_)?(hidden_|encoder_|decoder_|global_)?layers|depth|resampler_depth|num_(en|de)coder_layers|n_layer"
)
_WIDTHS = re.compile(
    r".*(hidden_size|intermediate_size|_dim|_rank|embed_dim|d_model|d_ff|projection_size)|dim|hidden_dim"
)
_HEAD = re.compile(r".*head_dim|d_kv")
_HEADS = re.compile(r".*_heads|n_head")
_EXPERTS = {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}
_CHOSEN = {"num_experts_per_tok", "moe_topk", "moe_k", "top_k", "num_experts_per_token"}
_BY_LAYER = {"layer_types", "mlp_layer_types", "layers_block_type"}
_LARGEST = 120_000_000

_TURNED = {"rope_type": "default", "rope_theta": 10000.0}

# Caps that a class's default configuration leaves out, and what its defaults lack.
_MORE: dict[str, dict[str, Any]] = {
    "gemma4": {"text_config.final_logit_softcapping": 3.0},
    "gemma4_unified": {"text_config.final_logit_softcapping": 3.0},
    "hyperclovax_vision_v2": {"text_config.logits_scaling": 0.25},
    "granite4_vision": {"deepstack_layer_map": [], "downsample_rate": "4/8", "text_config.logits_scaling": 4.0},
    "cohere_compass": {
        "text_config.rope_parameters": {"full_attention": _TURNED, "sliding_attention": _TURNED},
        "text_config.logit_scale": 0.25,
    },
    "hunyuan_vl": {"text_config.head_dim": 16},
    "step3p7": {"text_config.sliding_window": 64},
    "qwen2_5_omni_thinker": {"vision_start_token_id": 231, "vision_end_token_id": 232, "audio_start_token_id": 233},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 231, "vision_end_token_id": 232, "audio_start_token_id": 233},
    "chameleon": {"vocabulary_map": {"<image>": 230}},
    "emu3": {"vocabulary_map": {"<image>": 230}},
    "blip-2": {"image_token_index": 230},
    "instructblip": {"image_token_index": 230},
    "instructblipvideo": {"video_token_index": 230, "image_token_id": 230},
    "aria": {"projector_patch_to_query_dict": {64: 16}},
    "llama4": {"vision_config.intermediate_size": 128, "vision_config.vision_output_dim": 128},
}


class NotMade(Exception):
    """Why there is no tiny model of a class."""


class Shown(NamedTuple):
    """An image as a class's forward takes it, and how many tokens stand for it in a row."""

    tokens: int
    tensors: dict[str, Tensor]


def classes() -> dict[str, str]:
    """The name of the class of every kind of configuration."""
    named = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.items()
    return {kind: name if isinstance(name, str) else name[0] for kind, name in named}


def tiny_of(kind: str) -> Any:
    """A model in single precision, whose head is as sure as those of large models, so that caps show."""
    torch.manual_seed(0)
    try:
        config, made = _made_small(kind)
        if (large := _numel(made, config)) > _LARGEST:
            raise NotMade(f"made small it still has {large / 1e6:.0f} million parameters")
        model = made._from_config(config, dtype=torch.float32).train()
    except NotMade:
        raise
    except Exception as error:
        raise _not_made(error) from error
    without_dropout(model)
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    head = model.get_output_embeddings()
    if head is not None:
        torch.nn.init.normal_(head.weight)
    return model


def skeleton_of(kind: str) -> Any:
    """The same without weights, which takes no time, and no room however large it is."""
    try:
        config, made = _made_small(kind)
        with torch.device("meta"):
            return made._from_config(config, dtype=torch.float32).train()
    except Exception as error:
        raise _not_made(error) from error


def _made_small(kind: str) -> tuple[PretrainedConfig, Any]:
    config = CONFIG_MAPPING[kind]()
    _shrink(config)
    _give_marks_numbers(config)
    _fit(config)
    for name, value in _MORE.get(kind, {}).items():
        *inside, last = name.split(".")
        setattr(getattr(config, inside[0]) if inside else config, last, value)
    return config, getattr(transformers, classes()[kind])


def _not_made(error: Exception) -> NotMade:
    first = next(line for line in str(error).splitlines() if line.strip())
    return NotMade(f"{type(error).__name__}: {first.strip()}")


def _numel(made: Any, config: PretrainedConfig) -> int:
    """Of the model as it would be; nothing where it is not made without numbers."""
    with torch.device("meta"), contextlib.suppress(RuntimeError, NotImplementedError):
        return sum(each.numel() for each in made._from_config(copy.deepcopy(config)).parameters())
    return 0


def _configs(config: PretrainedConfig) -> Iterator[PretrainedConfig]:
    yield config
    for value in vars(config).values():
        if isinstance(value, PretrainedConfig):
            yield from _configs(value)


def _shrink(config: PretrainedConfig) -> None:
    for each in _configs(config):
        for name, value in list(vars(each).items()):
            if isinstance(value, int) and not isinstance(value, bool) and not name.startswith("_"):
                setattr(each, name, _smaller(name, value))
        _shrink_turns(each)
        patch = getattr(each, "patch_size", None)
        if isinstance(patch, int) and isinstance(getattr(each, "image_size", None), int):
            each.image_size = 8 * patch
        layers = next((v for k, v in vars(each).items() if _LAYERS.fullmatch(k) and isinstance(v, int)), None)
        for name, value in list(vars(each).items()):
            if not layers or not isinstance(value, list | tuple) or not value:
                continue
            if name in _BY_LAYER:
                setattr(each, name, list(value)[:layers])
            elif all(isinstance(v, int) for v in value) and ("layer" in name or "index" in name):
                setattr(each, name, [v for v in value if -layers <= v < layers] or [layers - 1])


def _shrink_turns(config: PretrainedConfig) -> None:
    """Positions of time, height and width share what a head turns; by default it is what large heads have."""
    turned, heads = getattr(config, "rope_parameters", None), getattr(config, "num_attention_heads", None)
    if isinstance(turned, dict) and "rope_theta" in turned and heads:
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        half = int(width * turned.get("partial_rotary_factor", 1.0)) // 2
        turned["mrope_section"] = [half - 2 * (half // 3), half // 3, half // 3]


def _fit(config: PretrainedConfig) -> None:
    """What a class's defaults leave to each model: that its parts fit each other."""
    eye, text = getattr(config, "vision_config", None), config.get_text_config()
    if hasattr(eye, "out_hidden_size"):
        eye.out_hidden_size = text.hidden_size
    if hasattr(eye, "embed_dim") and hasattr(eye, "spatial_merge_size"):
        eye.hidden_size = text.hidden_size
    if hasattr(config, "mm_tokens_per_image"):
        config.mm_tokens_per_image = 16
    if hasattr(config, "image_grid_pinpoints") and isinstance(eye.image_size, int):
        config.image_grid_pinpoints = [[2 * eye.image_size, eye.image_size]]


def _smaller(name: str, value: int) -> int:
    if name.endswith(("token_id", "token_index")):
        return value
    if _LAYERS.fullmatch(name):
        return min(value, 4)
    if _HEAD.fullmatch(name):
        return max(4, value // 4)
    if _HEADS.fullmatch(name):
        return max(1, value // 8)
    if "vocab_size" in name and "visual" not in name:
        return min(value, WORDS)
    if name in _EXPERTS:
        return min(value, 4)
    if name in _CHOSEN:
        return min(value, 2)
    if name in ("n_group", "topk_group"):
        return 1
    return max(8, value // 512 * 16) if _WIDTHS.fullmatch(name) and value >= 64 else value


def _give_marks_numbers(config: PretrainedConfig) -> None:
    """Marks of images and the like are among the few words, and each its own."""
    free, given = iter(range(WORDS - 2, WORDS - _MARKS, -1)), dict[int, int]()
    for each in _configs(config):
        for name, value in list(vars(each).items()):
            is_mark = name.endswith(("token_id", "token_index")) and isinstance(value, int)
            if is_mark and not isinstance(value, bool) and value >= WORDS - _MARKS:
                given[value] = given.get(value) or next(free)
                setattr(each, name, given[value])


def image_mark(model: Any) -> int | None:
    names = ("image_token_id", "image_token_index", "im_patch_id", "image_patch_id")
    return next((t for name in names if isinstance(t := getattr(model.config, name, None), int)), None)


def marks_of(model: Any, ids_BT: Tensor, is_answer_BT: Tensor) -> dict[str, Tensor]:
    """What the class's processor says of each token beside its number."""
    takes = inspect.signature(model.forward).parameters
    mark = image_mark(model)
    is_image = (ids_BT == (-1 if mark is None else mark)).long()
    is_pali = model.config.model_type == "paligemma"
    made = {"mm_token_type_ids": is_image, "token_type_ids": is_answer_BT.long() if is_pali else is_image}
    return {name: value for name, value in made.items() if name in takes}


def image_for(model: Any) -> Shown | None:
    """An image in a form that its forward accepts and uses; nothing where it accepts none of those tried."""
    takes = inspect.signature(model.forward).parameters
    for tensors in _forms(model):
        if not takes.keys() >= tensors.keys():
            continue
        for tokens in _numbers(model, tensors):
            with torch.no_grad(), contextlib.suppress(Exception):
                if _is_seen(model, Shown(tokens, tensors)):
                    return Shown(tokens, tensors)
    return None


def _forms(model: Any) -> Iterator[dict[str, Tensor]]:
    eye = getattr(model.config, "vision_config", None) or model.config
    size = getattr(eye, "image_size", 0) or 56
    side = max(size) if isinstance(size, list | tuple) else size
    patch = getattr(eye, "patch_size", 14)
    patch = patch if isinstance(patch, int) else 14
    merge, times = getattr(eye, "spatial_merge_size", 2), getattr(eye, "temporal_patch_size", 1)
    colours, torch_side = torch.randn, torch.tensor([[side, side]])
    grid = {"image_grid_thw": torch.tensor([[1, 2 * merge, 2 * merge]])}
    for depth in {times, 1}:
        yield {"pixel_values": colours(4 * merge**2, 3 * depth * patch**2), **grid}
        yield {"pixel_values": colours(4 * merge**2, 3, patch, patch), **grid}
    yield {"pixel_values": colours(1, 3, side, side)}
    yield {"pixel_values": colours(1, 3, side, side), "image_sizes": torch_side}
    two = {"pixel_values": colours(1, 2, 3, side, side)}
    yield {"pixel_values": colours(1, 1, 3, side, side)}
    yield {**two, "pixel_attention_mask": torch.ones(1, 2, side, side).long()}
    yield {"pixel_values": colours(1, 1, 3, side, side), "pixel_attention_mask": torch.ones(1, 1, side, side).long()}
    high = torch.tensor([[2 * side, side]])
    yield {"pixel_values": colours(1, 3, 3, side, side), "image_sizes": high}
    asked = torch.randint(10, 20, (1, 5))
    yield {"pixel_values": colours(1, 3, side, side), "qformer_input_ids": asked}
    yield {"pixel_values": colours(1, 4, 3, side, side), "qformer_input_ids": asked.expand(4, -1)}


def _numbers(model: Any, tensors: Mapping[str, Tensor]) -> list[int]:
    """How many tokens may stand for the image; many classes say it themselves when they are given one."""
    tried = [0, *(getattr(model.config, name, None) or 0 for name in ("image_seq_length", "num_query_tokens"))]
    try:
        with torch.no_grad():
            _logits(model, Shown(1, dict(tensors)))
        tried.append(1)
    except Exception as error:
        if told := re.search(r"features:? (\d+)", str(error)):
            tried += [int(told[1]), int(told[1]) // model.config.get_text_config().hidden_size]
    return list(dict.fromkeys(tried))


def _is_seen(model: Any, shown: Shown) -> bool:
    other = {name: v.flip(-1) if v.is_floating_point() else v for name, v in shown.tensors.items()}
    apart = _logits(model, shown) - _logits(model, shown._replace(tensors=other))
    return bool(apart.isfinite().all() and apart.abs().max() > 1e-6)


def _logits(model: Any, shown: Shown) -> Tensor:
    ids = torch.tensor([[11, *[image_mark(model) or 0] * shown.tokens, 12, 13, 14]])
    marks = marks_of(model, ids, torch.zeros_like(ids))
    forget_positions(model)
    logits: Tensor = model(
        input_ids=ids, attention_mask=torch.ones_like(ids), **marks, **shown.tensors, use_cache=False
    ).logits
    return logits


def forget_positions(model: Any) -> None:
    """Qwen remembers where the last batch stood."""
    inside = getattr(model, "model", model)
    if hasattr(inside, "rope_deltas"):
        inside.rope_deltas = None
