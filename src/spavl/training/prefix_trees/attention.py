"""Attention over prefix trees: which models support it, and how it is computed segment by segment.

Attention with a mask over a whole row would compute all pairs of tokens and discard most of them: the questions and
answers of other branches are not visible. By segments, each is one call of the usual kernel with its causal mask.

The last layer is computed only at places whose output is read. Later tokens need the layer's keys and values of the
image, but not its output there. The other places are filled with zeros.

A model family is listed here only when the tests have shown that sharing gives the scores and gradients of its plain
rows. Any other model is trained row by row, and so is one whose language model cannot attend by segments.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from spavl.errors import TrainingError
from spavl.training.prefix_trees.tree import PrefixTree

BY_SEGMENTS = "spavl_forks"


class TreeSegment(NamedTuple):
    """A run of tokens, and the segments that they see before themselves."""

    length: int
    above: tuple[int, ...]
    # Whether the output of the segment is read: at the tokens of answers, and at the token before each answer.
    read: bool


# The segments of one long row, in order and without gaps: the row holds all trees of a batch and no padding.
Forks = tuple[TreeSegment, ...]


def forks_of(trees: Iterable[tuple[PrefixTree, Iterable[int]]]) -> Forks:
    """The segments of adjacent trees, each tree given with the places where it is read."""
    found: list[TreeSegment] = []
    for tree, read_at in trees:
        first, read = len(found), {tree.segments[place] for place in read_at}
        for own, length in sorted(Counter(tree.segments).items()):
            above = tuple(first + segment for segment in sorted(tree.ancestors[own] - {own}))
            found.append(TreeSegment(length, above, own in read))
    return tuple(found)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    forks: Forks | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Called by transformers. Calls without forks, such as generation, get the usual attention."""
    if forks is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return plain
    # Rotary embeddings are float32 even if the rest is not; the kernels need one dtype.
    query, key = query.to(value.dtype), key.to(value.dtype)
    queries, keys, values = (torch.split(each, [run.length for run in forks], 2) for each in (query, key, value))
    # Set by the last layer: segments that are not read are then not computed.
    read_only, window, pieces = others.get("read_only", False), others.get("sliding_window"), []
    for own, (length, above, read) in enumerate(forks):
        if read_only and not read:
            pieces.append(query.new_zeros(*query.shape[:2], length, value.shape[3]))
            continue
        key_seen, value_seen = (torch.cat([each[k] for k in (*above, own)], 2) for each in (keys, values))
        piece = F.scaled_dot_product_attention(
            queries[own],
            key_seen,
            value_seen,
            attn_mask=_sees(length, key_seen.shape[2], window, query.device),
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        pieces.append(piece)
    return torch.cat(pieces, 2).transpose(1, 2).contiguous(), None


def _sees(length: int, seen: int, window: int | None, device: torch.device) -> Tensor:
    """The causal mask of a row; with a sliding window, only the nearest tokens are seen."""
    if window is None or seen <= window:
        causal: Tensor = causal_lower_right(length, seen)
        return causal
    depth_K = torch.arange(seen, device=device)
    before_QK = depth_K[-length:, None] - depth_K
    return (before_QK >= 0) & (before_QK < window)


AttentionInterface.register(BY_SEGMENTS, attend)
AttentionMaskInterface.register(BY_SEGMENTS, sdpa_mask)


def read_last_layer_only_where_asked(model: Any) -> None:
    """Change the model so that it does. Calls without forks, such as generation, compute the whole layer.

    Layers with other modules are computed whole, such as Phi-3's, with queries, keys and values in one projection.
    """
    layer: Any = layers_of(model)[-1]
    attention = getattr(layer, "self_attn", None)
    there = (getattr(attention, "q_proj", None), getattr(attention, "o_proj", None), getattr(layer, "mlp", None))
    parts = [part for part in there if isinstance(part, nn.Module)]
    if hasattr(layer, "spavl_reader") or len(parts) < len(there):
        return
    layer.spavl_reader = reader = _Reader()
    layer.register_forward_pre_hook(reader.begin, with_kwargs=True)
    for part in parts:
        part.register_forward_pre_hook(reader.narrow)
        part.register_forward_hook(reader.widen)


def layers_of(model: Any) -> nn.ModuleList:
    """The layers of the language model: its longest stack of modules, whatever its name."""
    stacks = [module for module in model.get_decoder().modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len)


class _Reader:
    """The places at which the last layer is computed in the current forward pass."""

    def __init__(self) -> None:
        self._place_N: Tensor | None = None

    def begin(self, layer: nn.Module, given: tuple[Tensor, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Also called again if gradient checkpointing recomputes the layer."""
        forks: Forks | None = named.get("forks")
        if forks is None:
            self._place_N = None
            return given, named
        of_segment = torch.tensor([segment.read for segment in forks])
        length = torch.tensor([segment.length for segment in forks])
        hidden = given[0] if given else named["hidden_states"]
        self._tokens = hidden.shape[1]
        self._place_N = of_segment.repeat_interleave(length).nonzero()[:, 0].to(hidden.device)
        return given, {**named, "read_only": True}

    def narrow(self, part: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        """[1, T, H] -> [1, N, H]"""
        return given if self._place_N is None else (given[0].index_select(1, self._place_N),)

    def widen(self, part: nn.Module, given: tuple[Tensor], made: Any) -> Any:
        """[1, N, H] -> [1, T, H]"""
        if self._place_N is None:
            return made
        if isinstance(made, tuple):
            # Some mixtures of experts also return their routing, for a loss that is not used here.
            return (self.widen(part, given, made[0]), *made[1:])
        return made.new_zeros(1, self._tokens, made.shape[2]).index_copy(1, self._place_N, made)


class PlainRows(NamedTuple):
    """The plain rows of a batch, for models whose positions depend on the positions of images."""

    ids_RT: Tensor
    filled_RT: Tensor
    images: Mapping[str, Tensor]
    # The image of each row.
    image_R: list[int]


class MaskInputs(NamedTuple):
    """The inputs of a mask: which tokens see each other in the tree, their depths, and the places of images."""

    visible_BTT: Tensor
    depth_BT: Tensor
    image_BT: Tensor
    prompt_BT: Tensor


Mask = Tensor | dict[str, Tensor]


class ModelFamily(NamedTuple):
    # What rows about one image may share: the image, the whole prompt, or nothing.
    shares: Literal["image", "prompt", "nothing"]
    why: str
    # The position of the first token.
    first: int = 0
    # The attention mask, if a token does not simply see its ancestors; those are attended by segments, without a mask.
    mask: Callable[[Any, MaskInputs], Mask] | None = None
    # Positions that are not plain depths: [axes, R, T] of the plain rows.
    row_positions: Callable[[Any, PlainRows], Tensor] | None = None
    # The marks of answer tokens in plain rows, if they are not 0.
    answer_marks: Mapping[str, int] = MappingProxyType({})


def refuse_encoder_decoder(model: Any) -> None:
    """Refuse encoder-decoder models: a row holds question and answer, which these read separately."""
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
    """Why a model cannot attend by segments, or None if it can: a LLaVA may have any language model."""
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


# Cached, since reading source is slow and this is called for every batch.
@lru_cache
def _passes_on(kind: Any) -> bool:
    """Whether a layer passes keyword arguments on to its attention; some do not."""
    # A sharded layer is of a class that torch derives.
    own = next(each for each in kind.__mro__ if not each.__module__.startswith("torch.distributed"))
    return len(re.findall(r"\*\*\w*kwargs", inspect.getsource(own))) > 1


def _rotary_by_image(model: Any, rows: PlainRows) -> Tensor:
    """Qwen's positions have three axes (time, height, width); they are computed by the model on the plain rows."""
    grid = rows.images["image_grid_thw"][rows.image_R]
    shown = (rows.ids_RT == model.config.image_token_id).int()
    positions, _ = model.model.get_rope_index(
        rows.ids_RT, mm_token_type_ids=shown, image_grid_thw=grid, attention_mask=rows.filled_RT
    )
    # The model keeps the offsets of the last batch, which must not leak into the next.
    model.model.rope_deltas = None
    return torch.as_tensor(positions)


def _image_both_ways(model: Any, seen: MaskInputs) -> Mask:
    """Gemma's image tokens have bidirectional attention, and some layers a sliding window over depths, not places."""
    full = seen.visible_BTT | _both_ways(seen, seen.image_BT)
    near = (seen.depth_BT[:, :, None] - seen.depth_BT[:, None, :]) < model.config.text_config.sliding_window
    return {"full_attention": full[:, None], "sliding_attention": (full & near)[:, None]}


def _prompt_both_ways(model: Any, seen: MaskInputs) -> Mask:
    """PaliGemma's whole prompt has bidirectional attention, so each question needs its own image pass."""
    window = getattr(model.config.text_config, "sliding_window", None)
    if window is not None and int(seen.depth_BT.max()) >= window:
        # It takes one mask for all layers, and some layers of PaliGemma 2 have a sliding window.
        what = f"an answer goes further than the {window} tokens that some layers look back"
        raise TrainingError(what, where=model.name_or_path, then="train it with share_prefixes = false")
    return (seen.visible_BTT | _both_ways(seen, seen.prompt_BT))[:, None]


def _both_ways(seen: MaskInputs, among_BT: Tensor) -> Tensor:
    # Two trees in one row must not see each other: two tokens are of one tree if either sees the other.
    of_one_tree_BTT = seen.visible_BTT | seen.visible_BTT.transpose(1, 2)
    return among_BT[:, :, None] & among_BT[:, None, :] & of_one_tree_BTT


# The kinds of layers in which a token sees only its ancestors, either all of them or the nearest.
_BY_ATTENTION = {"full_attention", "sliding_attention"}
_PLAIN = ModelFamily("image", "a token sees what stands before it, and nothing else")
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
        # Unmarked tokens count as prompt, which has bidirectional attention.
        answer_marks={"token_type_ids": 1},
    ),
}
