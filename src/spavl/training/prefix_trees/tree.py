"""Rows of tokens with common prefixes, laid out as a tree so that each prefix is there once.

Three questions about one image with two answers each are six rows that all begin with the
image's several hundred tokens. As a trie they are one short sequence:

    system image ┬ question ┬ answer          flat: system image question answer answer question …
                   │          └ answer          depth:   0 …                12     12
                   └ question ┬ …

Each token sees its ancestors alone and stands at its depth, as it would in its own row, so a
model gives it the same log-probability and the same gradient (up to rounding).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TokenPath(NamedTuple):
    """One row: its tokens, and the place where the answer begins."""

    tokens: tuple[int, ...]
    answer: int
    # The last token to score, if the model gets another one as input in its place.
    last: int | None = None

    def scored(self) -> tuple[int, ...]:
        """The tokens of the answer that the model has to predict."""
        answer = self.tokens[self.answer :]
        return answer if self.last is None else (*answer[:-1], self.last)


class PrefixTree(NamedTuple):
    """Rows laid out flat, parents before children; a segment is a run of tokens without a fork."""

    tokens: list[int]
    depths: list[int]
    segments: list[int]
    # ancestors[s] holds the segments that a token of segment s sees: those above it, and its own.
    ancestors: list[frozenset[int]]
    # The places of the tokens of each row.
    places: list[list[int]]


def grow(paths: Sequence[TokenPath]) -> PrefixTree:
    """The tree of these rows."""
    tokens: list[int] = []
    parents: list[int] = []
    child: dict[tuple[int, int], int] = {}
    places: list[list[int]] = []
    for path in paths:
        place, walked = -1, []
        for token in path.tokens:
            step = (place, token)
            if step not in child:
                child[step] = len(tokens)
                tokens.append(token)
                parents.append(place)
            place = child[step]
            walked.append(place)
        places.append(walked)
    depths: list[int] = []
    for parent in parents:
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
    return PrefixTree(tokens, depths, *_segments(parents), places)


def _segments(parents: Sequence[int]) -> tuple[list[int], list[frozenset[int]]]:
    """A token begins a new segment unless it is the only child of the token before it."""
    children = np.bincount(np.array(parents) + 1, minlength=len(parents) + 1)
    segments: list[int] = []
    ancestors: list[frozenset[int]] = []
    for place, parent in enumerate(parents):
        goes_on = parent >= 0 and parent == place - 1 and children[parent + 1] == 1
        if not goes_on:
            above = ancestors[segments[parent]] if parent >= 0 else frozenset()
            ancestors.append(above | {len(ancestors)})
        segments.append(segments[parent] if goes_on else len(ancestors) - 1)
    return segments, ancestors


def visible(tree: PrefixTree) -> NDArray[np.bool_]:
    """[query, key]: which tokens a token sees."""
    sees = np.zeros((len(tree.ancestors), len(tree.ancestors)), dtype=np.bool_)
    for segment, above in enumerate(tree.ancestors):
        sees[segment, list(above)] = True
    of = np.array(tree.segments)
    return np.tril(sees[np.ix_(of, of)])
