"""Which samples belong to a step: another order each epoch, the same in every run with this seed."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from heapq import heapreplace
from itertools import chain, groupby, pairwise
from operator import attrgetter
from typing import Generic, Literal, NamedTuple, TypeVar

from spavl.records import Sample

T = TypeVar("T")


class SampleOrder:
    """Steps of about so many samples, each sample in one step of an epoch.

    A step of images takes all samples of an image, which then share its pass; only an image that is larger than a step
    is cut. How many samples a step has so varies by about an image's. A step of pairs takes samples at random.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        per_step: int,
        epochs: int,
        seed: int,
        of: Literal["images", "pairs"] = "images",
    ) -> None:
        images = _by_image(samples)
        self.samples = list(chain.from_iterable(images))
        # What is shuffled, and stays together.
        self._units = [part for image in images for part in _parts(image, per_step if of == "images" else 1)]
        self._seed, self._per_epoch = seed, math.ceil(len(samples) / per_step)
        self.steps = self._per_epoch * epochs
        self._dealt, self._steps = -1, list[list[Sample]]()

    def at(self, step: int) -> list[Sample]:
        epoch, place = divmod(step, self._per_epoch)
        if self._dealt != epoch:
            self._dealt, self._steps = epoch, self._deal(random.Random(f"{self._seed}/{epoch}"))
        return self._steps[place]

    def _deal(self, rng: random.Random) -> list[list[Sample]]:
        """An epoch's steps, as even as can be: the largest unit first, each to the step that has least."""
        units, steps = list(self._units), [list[Sample]() for _ in range(self._per_epoch)]
        rng.shuffle(units)
        heap = [(0, place) for place in range(len(steps))]
        for unit in sorted(units, key=len, reverse=True):
            filled, least = heap[0]
            steps[least] += unit
            heapreplace(heap, (filled + len(unit), least))
        # The first of them would always have the largest units.
        rng.shuffle(steps)
        return [list(chain.from_iterable(_by_image(step))) for step in steps]


def _by_image(samples: Sequence[Sample]) -> list[list[Sample]]:
    """In the order in which images are first met."""
    images: dict[str, list[Sample]] = {}
    for sample in samples:
        images.setdefault(sample.blob, []).append(sample)
    return list(images.values())


def _parts(samples: list[T], most: int) -> Iterator[list[T]]:
    """As few as can be of so many at most, and even."""
    number = math.ceil(len(samples) / most)
    edges = [len(samples) * place // number for place in range(number + 1)]
    return (samples[begin:end] for begin, end in pairwise(edges))


class _Piece(NamedTuple, Generic[T]):
    """Samples about one image, by their place in the step."""

    place: int
    samples: list[T]
    tokens: int


def cut(
    samples: Sequence[T],
    tokens: Callable[[Sequence[T]], int],
    most: int,
    processes: int = 1,
    image: Callable[[T], str] = attrgetter("blob"),
) -> list[list[T]]:
    """A step's samples as passes of at most so many tokens, as few and as even as can be.

    An image's samples stay together where they fit; one that is longer by itself is a pass of its own. Processes
    have a pass each, so long as there are images for all.
    """
    images = [list(about) for _, about in groupby(samples, image)]
    found = [part for about in images for part in _fitting(about, tokens, most)]
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
