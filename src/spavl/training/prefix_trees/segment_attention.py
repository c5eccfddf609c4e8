"""Attention over trees, segment by segment: each sees what stands above it and itself, and nothing else is computed.

A mask over a whole row would compute every pair of tokens and throw most of them away: three questions
with two answers each see nothing of each other. By segments, each is one call of the usual kernel, with a
causal mask that fast kernels have built in, and nothing is compiled.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from spavl.training.prefix_trees.tree import PrefixTree

NAME = "spavl_forks"


class TreeSegment(NamedTuple):
    """A run of tokens, and which segments they see before they get to themselves."""

    length: int
    above: tuple[int, ...]
    # Whether anybody asks what the model makes of them: of answers, and of what stands right before them.
    read: bool


# The segments of one long row, in their order, without a gap: it holds all trees of a pass, and no padding.
Forks = tuple[TreeSegment, ...]


def forks_of(trees: Iterable[tuple[PrefixTree, Iterable[int]]]) -> Forks:
    """The segments of trees beside each other, each tree given with the places where it is read."""
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
    """As transformers calls it. Whoever gives no forks, such as generation, gets the usual attention."""
    if forks is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return plain
    # Rotations are in single precision even where the rest is not; kernels want one kind.
    query, key = query.to(value.dtype), key.to(value.dtype)
    queries, keys, values = (torch.split(each, [run.length for run in forks], 2) for each in (query, key, value))
    # Said by the last layer: what nobody reads is then not computed.
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
    """Along its row a token sees what comes before it; in layers that look through a window, only what is near."""
    if window is None or seen <= window:
        causal: Tensor = causal_lower_right(length, seen)
        return causal
    depth_K = torch.arange(seen, device=device)
    before_QK = depth_K[-length:, None] - depth_K
    return (before_QK >= 0) & (before_QK < window)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
