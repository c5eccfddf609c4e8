"""Lengths told without pixels are those with them, whether a processor tells its own right or wrong."""

import random

import pytest

from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.training.prefix_trees.tree import Size, TokenCounter
from tests.support.processors import PROCESSORS

MAKERS = {**PROCESSORS, "miniature": lambda: load_checkpoint(miniature_checkpoint())[0]}


@pytest.mark.parametrize("kind", MAKERS)
def test_an_image_of_any_shape_takes_as_many_tokens_as_are_told(kind: str) -> None:
    lengths = TokenCounter(MAKERS[kind]())
    assert lengths._own_count_lacks is not None
    rng = random.Random(kind)
    for _ in range(4):
        size = (rng.randint(30, 700), rng.randint(30, 700))
        assert lengths.spread(size) == lengths._added_tokens(size)


def test_a_count_that_is_wrong_for_some_shapes_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Idefics3's was, which counts some of the marks between its tiles twice."""
    lengths = TokenCounter(MAKERS["qwen2_vl"]())
    told = lengths._processors_own_count

    def wrong(size: Size) -> int:
        return told(size) + (size[0] > size[1])

    monkeypatch.setattr(lengths, "_processors_own_count", wrong)
    assert lengths._own_count_lacks is None
    assert lengths.spread((300, 200)) == lengths._added_tokens((300, 200))
