"""What a family of models lets rows share, how it counts positions, and what its tokens may see.

A family is named here only when the tests have shown that sharing gives its plain rows' scores
and gradients. Any other model is trained row by row, and the run says so; so is one of a family whose
language model cannot attend by segments.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from spavl.errors import TrainingError
from spavl.training.prefix_trees.segment_attention import NAME as BY_SEGMENTS
from spavl.training.prefix_trees.sparse_last_layer import layers_of


class PlainRows(NamedTuple):
    """The plain rows behind a batch, for models whose positions depend on where images stand."""

    ids_RT: Tensor
    filled_RT: Tensor
    images: Mapping[str, Tensor]
    # Which image each row shows.
    image_R: list[int]


class MaskInputs(NamedTuple):
    """What masks are made of: who sees whom by the tree, at which depth each token stands, where images are."""

    visible_BTT: Tensor
    depth_BT: Tensor
    image_BT: Tensor
    prompt_BT: Tensor


Mask = Tensor | dict[str, Tensor]


class ModelFamily(NamedTuple):
    # What rows with one image may share: the image, the whole prompt, or nothing.
    shares: Literal["picture", "prompt", "nothing"]
    why: str
    # The depth of the first token: positions begin there.
    first: int = 0
    # Who sees whom, where it is not simply what stands above: that is attended to by segments, without a mask.
    mask: Callable[[Any, MaskInputs], Mask] | None = None
    # Positions that are not plain depths: [axes, R, T] of the plain rows.
    row_positions: Callable[[Any, PlainRows], Tensor] | None = None
    # How plain rows mark an answer's tokens, where it is not with nothing.
    answer_marks: Mapping[str, int] = MappingProxyType({})


def refuse_two_parts(model: Any) -> None:
    """A row of tokens holds question and answer; encoders and decoders read them apart."""
    texts = (model.config, getattr(model.config, "text_config", None))
    if any(getattr(config, "is_encoder_decoder", False) for config in texts):
        what = f"a {type(model).__name__} reads a question in one part and writes its answer in another"
        raise TrainingError(what, where=model.name_or_path, then="train a model that goes on from its question")


def family_of(model: Any) -> ModelFamily:
    kind = model.config.model_type
    odd = set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - _BY_ATTENTION
    if odd:
        return ModelFamily(
            "nothing", f"layers of the kind {min(odd)!r} may carry what they read from one row into the next"
        )
    if kind in _FAMILIES:
        family = _FAMILIES[kind]
        why = _why_not_by_segments(model) if family.mask is None else None
        return family if why is None else family._replace(shares="nothing", why=why)
    return ModelFamily("nothing", f"models of the kind {kind!r} are not known to score shared rows exactly")


def _why_not_by_segments(model: Any) -> str | None:
    """A LLaVA may speak through any language model, whose attention must take another's place for its own."""
    attention = model.config.get_text_config()._attn_implementation
    if attention not in ("sdpa", BY_SEGMENTS):
        return f"its language model attends by {attention!r}, which knows no segments"
    layer: Any = layers_of(model)[0]
    on_the_way: set[Any] = {
        type(layer),
        *(type(part) for part in layer.modules() if "Attention" in type(part).__name__),
    }
    if closed := sorted(kind.__name__ for kind in on_the_way if not _passes_on(kind)):
        return f"its language model's {closed[0]} keeps what it is given beside tokens, so it knows no segments"
    return None


# Source is slow to find, and this is asked for every batch.
@lru_cache
def _passes_on(kind: Any) -> bool:
    """What a layer is given by name must come to the attention; in some it is taken, and goes no further."""
    # In shards a layer is of a class that torch makes of its own.
    own = next(each for each in kind.__mro__ if not each.__module__.startswith("torch.distributed"))
    return len(re.findall(r"\*\*\w*kwargs", inspect.getsource(own))) > 1


def _rotary_by_image(model: Any, rows: PlainRows) -> Tensor:
    """Qwen counts time, height and width; the model's own counting of the plain rows is taken over."""
    grid = rows.images["image_grid_thw"][rows.image_R]
    shown = (rows.ids_RT == model.config.image_token_id).int()
    positions, _ = model.model.get_rope_index(
        rows.ids_RT, mm_token_type_ids=shown, image_grid_thw=grid, attention_mask=rows.filled_RT
    )
    # It remembers the last batch it counted, which must not leak into the next.
    model.model.rope_deltas = None
    return torch.as_tensor(positions)


def _image_both_ways(model: Any, seen: MaskInputs) -> Mask:
    """Gemma sees an image's tokens both ways, and in some layers only near tokens: near by depth, not by place."""
    full = seen.visible_BTT | _both_ways(seen, seen.image_BT)
    near = (seen.depth_BT[:, :, None] - seen.depth_BT[:, None, :]) < model.config.text_config.sliding_window
    return {"full_attention": full[:, None], "sliding_attention": (full & near)[:, None]}


def _prompt_both_ways(model: Any, seen: MaskInputs) -> Mask:
    """PaliGemma's whole prompt sees itself both ways, which is why another question needs another image pass."""
    window = getattr(model.config.text_config, "sliding_window", None)
    if window is not None and int(seen.depth_BT.max()) >= window:
        # It takes one mask for all layers, and PaliGemma 2 has some that look through a window.
        what = f"an answer goes further than the {window} tokens that some layers look back"
        raise TrainingError(what, where=model.name_or_path, then="train it with share_prefixes = false")
    return (seen.visible_BTT | _both_ways(seen, seen.prompt_BT))[:, None]


def _both_ways(seen: MaskInputs, among_BT: Tensor) -> Tensor:
    # Two trees in one row must stay apart: whoever is seen from the other end is of one tree.
    of_one_tree_BTT = seen.visible_BTT | seen.visible_BTT.transpose(1, 2)
    return among_BT[:, :, None] & among_BT[:, None, :] & of_one_tree_BTT


# What a layer may be for a token to see exactly what stands above it: all of it, or what is near by depth.
_BY_ATTENTION = {"full_attention", "sliding_attention"}
_PLAIN = ModelFamily("picture", "a token sees what stands before it, and nothing else")
_QWEN = _PLAIN._replace(row_positions=_rotary_by_image)
_FAMILIES: dict[str, ModelFamily] = {
    **dict.fromkeys(("llava", "llava_next", "smolvlm", "idefics3", "internvl"), _PLAIN),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), _QWEN),
    "gemma3": _PLAIN._replace(mask=_image_both_ways),
    "paligemma": ModelFamily(
        "prompt",
        "its questions change how it sees the image",
        first=1,
        mask=_prompt_both_ways,
        # What is not marked is prompt, and seen both ways.
        answer_marks={"token_type_ids": 1},
    ),
}
