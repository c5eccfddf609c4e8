"""Which samples belong to a step: another order each epoch, the same in every run with this seed."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby

from spavl.records import Sample


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


def cut(samples: Sequence[Sample], tokens: Callable[[Sequence[Sample]], int], most: int | None) -> list[list[Sample]]:
    """A step's samples as passes of at most so many tokens; a picture's stay together where they fit.

    A sample that is longer by itself is a pass of its own.
    """
    if most is None:
        return [list(samples)]
    passes: list[list[Sample]] = []
    room = 0
    for _, picture in groupby(samples, lambda sample: sample.blob):
        for part, size in _fitting(list(picture), tokens, most):
            if size > room:
                passes.append([])
                room = most
            passes[-1] += part
            room -= size
    return passes


def _fitting(
    samples: list[Sample], tokens: Callable[[Sequence[Sample]], int], most: int
) -> Iterator[tuple[list[Sample], int]]:
    size = tokens(samples)
    if size <= most or len(samples) == 1:
        yield samples, size
        return
    half = len(samples) // 2
    yield from _fitting(samples[:half], tokens, most)
    yield from _fitting(samples[half:], tokens, most)
