"""Attention over trees, segment by segment: each sees what stands above it and itself, and nothing else is computed.

A mask over a whole row would compute every pair of tokens and throw most of them away: three questions
with two answers each see nothing of each other. By segments, each is one call of the usual kernel, with a
causal mask that fast kernels have built in, and nothing is compiled.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from spavl.training.tree import Tree

NAME = "spavl_forks"


class Segment(NamedTuple):
    """A run of a row's tokens, and which of the row's segments they see before they get to themselves."""

    length: int
    above: tuple[int, ...]
    # Whether anybody asks what the model makes of them: of answers, and of what stands right before them.
    read: bool


# Of each row, its segments in their order, without a gap; what is left over at a row's end is padding.
Forks = tuple[tuple[Segment, ...], ...]


def forks_of(trees: Sequence[tuple[Tree, Iterable[int], int]], rows: int) -> Forks:
    """The segments of trees, each given with the places where it is read, and its row."""
    found: list[list[Segment]] = [[] for _ in range(rows)]
    for tree, read_at, row in trees:
        first, read = len(found[row]), {tree.segments[place] for place in read_at}
        for own, length in sorted(Counter(tree.segments).items()):
            above = tuple(first + segment for segment in sorted(tree.ancestors[own] - {own}))
            found[row].append(Segment(length, above, own in read))
    return tuple(map(tuple, found))


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
    read_only = others.pop("read_only", False)
    if forks is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return plain
    # Rotations are in single precision even where the rest is not; kernels want one kind.
    query, key = query.to(value.dtype), key.to(value.dtype)
    of_row = zip(torch.split(query, 1), torch.split(key, 1), torch.split(value, 1), forks, strict=True)
    return torch.cat([_row(*each, scaling, read_only) for each in of_row]).transpose(1, 2).contiguous(), None


def _row(
    query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment], scaling: float | None, read_only: bool
) -> Tensor:
    lengths = [segment.length for segment in segments]
    lengths.append(query.shape[2] - sum(lengths))
    queries, keys, values = (torch.split(each, lengths, 2) for each in (query, key, value))
    pieces = []
    for own, (length, above, read) in enumerate(segments):
        if read_only and not read:
            pieces.append(queries[own].new_zeros(*query.shape[:2], length, value.shape[3]))
            continue
        seen = (*above, own)
        key_seen, value_seen = (
            torch.cat([each[k] for k in seen], 2) if above else each[own] for each in (keys, values)
        )
        piece = F.scaled_dot_product_attention(
            queries[own],
            key_seen,
            value_seen,
            attn_mask=causal_lower_right(length, key_seen.shape[2]),
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        pieces.append(piece)
    return F.pad(torch.cat(pieces, 2), (0, 0, 0, lengths[-1]))


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
