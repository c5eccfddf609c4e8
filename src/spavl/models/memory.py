"""Halves the batch size when memory does not suffice."""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

from spavl.errors import TrainingError

A = TypeVar("A")
B = TypeVar("B")


class AdaptiveBatch:
    """The largest batch size. It is halved each time a batch does not fit into memory."""

    def __init__(self, most: int, name: str, say: Callable[[str], None] = lambda _: None) -> None:
        self.most, self._name, self._say = most, name, say

    def is_halved(self, size: int) -> bool:
        """Halve the batch size after a batch of `size` did not fit. False if `size` is 1."""
        if size < 2:
            return False
        self.most = size // 2
        self._say(f"{self._name}: out of memory, so {self.most} requests at most are answered together from now on")
        return True

    def each(
        self, requests: Sequence[A], answer: Callable[[Sequence[A]], Sequence[B]], *, where: str, then: str
    ) -> list[B]:
        """Answer all requests, in batches that fit. `where` and `then` are for the error if not even one fits."""
        answers = list[B]()
        while len(answers) < len(requests):
            batch = requests[len(answers) : len(answers) + self.most]
            try:
                answers += answer(batch)
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the except block: the error's frames keep references to the tensors.
            free_memory()
            if not self.is_halved(len(batch)):
                what = f"there is not enough memory for a single question to {self._name}"
                raise TrainingError(what, where=where, then=then)
        return answers


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means out of memory. PyTorch has a class for that on a GPU, but only a message on a CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def free_memory() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()
