"""Halves the batch size where memory does not suffice."""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

from spavl.errors import TrainingError

A = TypeVar("A")
B = TypeVar("B")


class AdaptiveBatch:
    """How many requests are answered together: fewer from the moment that so many did not fit."""

    def __init__(self, most: int, name: str, say: Callable[[str], None] = lambda _: None) -> None:
        self.most, self._name, self._say = most, name, say

    def is_halved(self, size: int) -> bool:
        """Take in that so many did not fit; whether fewer are worth a try."""
        if size < 2:
            return False
        self.most = size // 2
        self._say(f"{self._name}: out of memory, so {self.most} requests at most are answered together from now on")
        return True

    def each(
        self, requests: Sequence[A], answer: Callable[[Sequence[A]], Sequence[B]], *, where: str, then: str
    ) -> list[B]:
        """The answers to all, as many together as fit. `where` and `then` tell what to do if a single one does not."""
        answers = list[B]()
        while len(answers) < len(requests):
            batch = requests[len(answers) : len(answers) + self.most]
            try:
                answers += answer(batch)
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # Not before the error is gone, which holds all that its frames held.
            free_memory()
            if not self.is_halved(len(batch)):
                what = f"there is not enough memory for a single question to {self._name}"
                raise TrainingError(what, where=where, then=then)
        return answers


def is_out_of_memory(error: Exception) -> bool:
    """A GPU's is a class of its own; a CPU's is told in words."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def free_memory() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()
