"""Which samples belong to a step: another order each epoch, the same in every run with this seed."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from heapq import heapreplace
from itertools import chain, groupby
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from spavl.records import Sample

T = TypeVar("T")


class Order:
    """Pictures are shuffled, and a picture's samples stay together to share its pass."""

    def __init__(self, samples: Sequence[Sample], per_step: int, epochs: int, seed: int) -> None:
        pictures: dict[str, list[Sample]] = {}
        for sample in samples:
            pictures.setdefault(sample.blob, []).append(sample)
        self._pictures = list(pictures.values())
        self.samples = list(chain.from_iterable(self._pictures))
        self._per_step, self._seed = per_step, seed
        self._per_epoch = math.ceil(len(samples) / per_step)
        self.steps = self._per_epoch * epochs
        self._shuffled, self._order = -1, self.samples

    def at(self, step: int) -> list[Sample]:
        epoch, place = divmod(step, self._per_epoch)
        if self._shuffled != epoch:
            pictures = list(self._pictures)
            random.Random(f"{self._seed}/{epoch}").shuffle(pictures)
            self._shuffled, self._order = epoch, list(chain.from_iterable(pictures))
        return self._order[place * self._per_step : (place + 1) * self._per_step]


class _Piece(NamedTuple, Generic[T]):
    """Samples about one picture, by their place in the step."""

    place: int
    samples: list[T]
    tokens: int


def cut(
    samples: Sequence[T],
    tokens: Callable[[Sequence[T]], int],
    most: int,
    processes: int = 1,
    picture: Callable[[T], str] = attrgetter("blob"),
) -> list[list[T]]:
    """A step's samples as passes of at most so many tokens, as few and as even as can be.

    A picture's samples stay together where they fit; one that is longer by itself is a pass of its own. Processes
    have a pass each, so long as there are pictures for all.
    """
    pictures = [list(about) for _, about in groupby(samples, picture)]
    found = [part for about in pictures for part in _fitting(about, tokens, most)]
    pieces = [_Piece(place, *part) for place, part in enumerate(found)]
    number = processes * math.ceil(sum(piece.tokens for piece in pieces) / (most * processes))
    passes = _evenly(pieces, number)
    while number < len(pieces) and any(sum(piece.tokens for piece in each) > most for each in passes):
        number += processes
        passes = _evenly(pieces, number)
    return [[sample for piece in each for sample in piece.samples] for each in passes]


def _evenly(pieces: Sequence[_Piece[T]], number: int) -> list[list[_Piece[T]]]:
    """The longest first, each to whoever has least; then all in the step's order."""
    passes: list[list[_Piece[T]]] = [[] for _ in range(min(number, len(pieces)))]
    heap = [(0, place) for place in range(len(passes))]
    for piece in sorted(pieces, key=lambda piece: -piece.tokens):
        filled, least = heap[0]
        passes[least].append(piece)
        heapreplace(heap, (filled + piece.tokens, least))
    return sorted(sorted(each) for each in passes)


def _fitting(samples: list[T], tokens: Callable[[Sequence[T]], int], most: int) -> Iterator[tuple[list[T], int]]:
    size = tokens(samples)
    if size <= most or len(samples) == 1:
        yield samples, size
        return
    half = len(samples) // 2
    yield from _fitting(samples[:half], tokens, most)
    yield from _fitting(samples[half:], tokens, most)
