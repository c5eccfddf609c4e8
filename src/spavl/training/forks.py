"""Attention over trees, segment by segment: each sees what stands above it and itself, and nothing else is computed.

A mask over a whole row would compute every pair of tokens and throw most of them away: three questions
with two answers each see nothing of each other. By segments, each is one call of the usual kernel, with a
causal mask that fast kernels have built in, and nothing is compiled.
"""

from collections.abc import Sequence
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
    """Where a run of tokens lies in a row, and the spans that it sees before it gets to itself."""

    start: int
    end: int
    above: tuple[tuple[int, int], ...]


# Of each row, its segments in their order, without a gap; what is left over at a row's end is padding.
Forks = tuple[tuple[Segment, ...], ...]


def forks_of(trees: Sequence[tuple[Tree, int, int]], rows: int) -> Forks:
    """The segments of trees, each given with its row and where it begins there."""
    found: list[list[Segment]] = [[] for _ in range(rows)]
    for tree, row, begin in trees:
        bounds = _bounds(tree.segments)
        for own, (start, end) in enumerate(bounds):
            above = [bounds[segment] for segment in sorted(tree.ancestors[own] - {own})]
            spans = _joined([(begin + one, begin + other) for one, other in above])
            found[row].append(Segment(begin + start, begin + end, spans))
    return tuple(map(tuple, found))


def _bounds(segments: Sequence[int]) -> list[tuple[int, int]]:
    starts = [place for place, segment in enumerate(segments) if place == 0 or segment != segments[place - 1]]
    return list(zip(starts, [*starts[1:], len(segments)], strict=True))


def _joined(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Spans that touch are one, which is then a view and no copy."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and joined[-1][1] == start:
            start = joined.pop()[0]
        joined.append((start, end))
    return tuple(joined)


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
    grouped = query.shape[1] != key.shape[1]
    # Rotations are in single precision even where the rest is not; kernels want one kind.
    query, key = query.to(value.dtype), key.to(value.dtype)
    of_row = zip(torch.split(query, 1), torch.split(key, 1), torch.split(value, 1), forks, strict=True)
    return torch.cat([_row(*each, scaling, grouped) for each in of_row]).transpose(1, 2).contiguous(), None


def _row(
    query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment], scaling: float | None, grouped: bool
) -> Tensor:
    pieces = []
    for start, end, above in segments:
        spans = _joined([*above, (start, end)])
        keys, values = (torch.cat([each[:, :, one:other] for one, other in spans], 2) for each in (key, value))
        seen = causal_lower_right(end - start, keys.shape[2])
        piece = F.scaled_dot_product_attention(
            query[:, :, start:end], keys, values, attn_mask=seen, scale=scaling, enable_gqa=grouped
        )
        pieces.append(piece)
    padding = query.shape[2] - segments[-1].end
    return F.pad(torch.cat(pieces, 2), (0, 0, 0, padding))


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
