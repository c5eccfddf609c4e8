"""A tree of rows gives its plain rows' scores and gradients: for every family, for trees of any shape."""

import copy
import itertools
import random
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from spavl.errors import TrainingError
from spavl.training.prefix_trees.attention import family_of, forks_of
from spavl.training.prefix_trees.batch import TreeBatch, lay_out
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, sorted_by_answer
from spavl.training.prefix_trees.tree import ImageGroup, TokenPath, grow, visible
from tests.support.model_families import BEGIN, END, IMAGE, MAKERS, SIZES, Shown, Tiny, tiny, together

# --- the trie

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple)
paths = st.lists(tokens.map(lambda row: TokenPath(row, len(row))), min_size=1, max_size=8)


@given(paths)
def test_every_row_is_found_again_in_the_tree_and_nothing_is_there_twice(rows: list[TokenPath]) -> None:
    tree = grow(rows)
    for path, places in zip(rows, tree.places, strict=True):
        assert tuple(tree.tokens[place] for place in places) == path.tokens
        assert [tree.depths[place] for place in places] == list(range(len(path.tokens)))
    prefixes = {path.tokens[:end] for path in rows for end in range(1, len(path.tokens) + 1)}
    assert len(tree.tokens) == len(prefixes)


@given(paths)
def test_a_token_sees_its_own_row_up_to_itself_and_nothing_else(rows: list[TokenPath]) -> None:
    tree = grow(rows)
    sees = visible(tree)
    for places in tree.places:
        for end, place in enumerate(places):
            assert set(sees[place].nonzero()[0].tolist()) == set(places[: end + 1])


@given(paths, paths)
def test_segments_see_what_the_mask_of_the_tree_shows(rows: list[TokenPath], others: list[TokenPath]) -> None:
    """Of two trees beside each other, each sees itself alone."""
    one, other = grow(rows), grow(others)
    segments = forks_of([(one, [0]), (other, [0])])
    size = len(one.tokens) + len(other.tokens)
    starts = np.cumsum([0, *(segment.length for segment in segments)])
    sees, expected = np.zeros((size, size), bool), np.zeros((size, size), bool)
    for own, (start, end) in enumerate(itertools.pairwise(starts)):
        for above in segments[own].above:
            sees[start:end, starts[above] : starts[above + 1]] = True
        sees[start:end, start:end] = np.tri(end - start, dtype=bool)
    expected[: len(one.tokens), : len(one.tokens)] = visible(one)
    expected[len(one.tokens) :, len(one.tokens) :] = visible(other)
    assert (sees == expected).all()
    assert starts[-1] == size


# --- every family


# Few words, so that questions and answers begin alike to any depth: of each image its size and its questions, and of
# each question its words and its answers.
some_words = st.lists(st.sampled_from([5, 6, 7]), max_size=5)
questions = st.lists(st.tuples(some_words, st.lists(some_words, min_size=1, max_size=3)), min_size=1, max_size=2)
shapes = st.lists(st.tuples(st.integers(0, SIZES - 1), questions), min_size=1, max_size=2)
Shape = list[tuple[int, list[tuple[list[int], list[list[int]]]]]]


class Grown(NamedTuple):
    groups: list[ImageGroup]
    # Of each group.
    shown: list[Shown]


def grown(made: Tiny, shape: Shape, shares: str) -> Grown:
    found, number = Grown([], []), 0
    for size, asked in shape:
        for some in [[each] for each in asked] if shares == "prompt" else [asked]:
            shown = made.image(size)
            head = [1, BEGIN, *[IMAGE] * shown.width, END]
            paths = [
                TokenPath((*head, *words, 8, *answer, 2), len(head) + len(words) + 1)
                for words, answers in some
                for answer in answers
            ]
            found.groups.append(ImageGroup(list(range(number, number + len(paths))), paths))
            found.shown.append(shown)
            number += len(paths)
    return found


def random_groups(rng: random.Random, made: Tiny, shares: str) -> list[ImageGroup]:
    """Images of the first size with questions with answers, as many as chance wants; some answers begin alike."""
    words = lambda most: [rng.randrange(3, 180) for _ in range(rng.randint(1, most))]  # noqa: E731
    shape: Shape = [
        (0, [(words(5), [words(9) for _ in range(rng.randint(1, 3))]) for _ in range(rng.randint(1, 3))])
        for _ in range(rng.randint(1, 3))
    ]
    return grown(made, shape, shares).groups


class InDoublePrecision(TorchFunctionMode):
    """Norms, rotations and softmaxes of transformers go through single precision, whatever the weights are in."""

    def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        if function is Tensor.float:
            return given[0].double()
        given, named = tree_map(lambda v: torch.float64 if v is torch.float32 else v, (given, named or {}))
        return function(*given, **named)


def scores_of_plain_rows(made: Tiny, trees: Grown, dtype: torch.dtype) -> list[Tensor]:
    """One row at a time, as the model's makers meant it."""
    scores = []
    for group, shown in zip(*trees, strict=True):
        for path in group.paths:
            ids = torch.tensor([path.tokens])
            prompt = torch.arange(ids.shape[1])[None] < path.answer
            if hasattr(made.model.model, "rope_deltas"):
                made.model.model.rope_deltas = None
            logits = made.model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                use_cache=False,
                **in_kind(shown.tensors, dtype),
                **made.marks(ids, prompt),
            ).logits[0]
            answer = ids[0, path.answer :]
            scores.append(logits[path.answer - 1 : -1].log_softmax(-1).gather(-1, answer[:, None])[:, 0])
    return scores


def in_kind(tensors: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: values.to(dtype) if values.is_floating_point() else values for name, values in tensors.items()}


def gradients(model: Any, scores: list[Tensor]) -> dict[str, Tensor]:
    """Of a sum in which every answer counts differently, as in DPO."""
    model.zero_grad()
    torch.stack([torch.sin(score.sum() / 5) * (-0.9) ** k for k, score in enumerate(scores)]).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@cache
def tiny_once(kind: str, dtype: torch.dtype) -> Tiny:
    return tiny(kind, dtype)


def compare(kind: str, dtype: torch.dtype, shape: Shape) -> tuple[float, float]:
    """The furthest any score and, relative to their norm, the gradients are from the plain rows'."""
    made = tiny_once(kind, dtype)
    family = family_of(made.model)
    trees = grown(made, shape, family.shares)
    plain = scores_of_plain_rows(made, trees, dtype)
    expected = gradients(made.model, plain)
    batch = lay_out(made.model, family, trees.groups, in_kind(together(trees.shown), dtype))
    scores = list(by_answer(answer_token_logprobs(made.model, batch), batch))
    found = gradients(made.model, scores)
    assert found.keys() == expected.keys() and any("vision" in name or "visual" in name for name in found)
    apart = max(float((a - b).detach().abs().max()) for a, b in zip(plain, scores, strict=True))
    wrong = sum(float((expected[name] - found[name]).square().sum()) for name in found) ** 0.5
    return apart, wrong / sum(float(each.square().sum()) for each in expected.values()) ** 0.5


def by_answer(logprobs_T: Tensor, batch: TreeBatch) -> tuple[Tensor, ...]:
    return sorted_by_answer(logprobs_T, batch).split(batch.answer_T.bincount().tolist())


any_shape = settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
# All sizes at once, a question twice, and an answer that another one goes on from.
MIXED: Shape = [
    (0, [([5, 6], [[5, 5], [5, 5, 7], [6]]), ([5, 7, 7], [[7]])]),
    (1, [([5, 6], [[5, 5, 6, 6], []])]),
    (2, [([], [[5], [6]]), ([6], [[5], [5, 5, 5, 5, 5]])]),
]


@pytest.mark.parametrize("kind", MAKERS)
@given(shapes)
@example(MIXED)
@any_shape
def test_a_tree_of_any_shape_scores_and_teaches_as_its_plain_rows(kind: str, shape: Shape) -> None:
    """In true double precision, where nothing but the order of sums is left to differ."""
    with InDoublePrecision():
        apart, wrong = compare(kind, torch.float64, shape)
    assert apart < 1e-12 and wrong < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_with_the_single_precision_inside_transformers_too(kind: str) -> None:
    """Its norms make of what differs in the sixteenth digit what differs in the seventh."""
    apart, wrong = compare(kind, torch.float64, MIXED)
    assert apart < 1e-6 and wrong < 1e-6


@pytest.mark.parametrize("kind", MAKERS)
def test_in_single_precision_too(kind: str) -> None:
    apart, wrong = compare(kind, torch.float32, MIXED)
    assert apart < 1e-5 and wrong < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
@given(shapes)
@any_shape
def test_in_single_precision_any_shape_too(kind: str, shape: Shape) -> None:
    apart, wrong = compare(kind, torch.float32, shape)
    assert apart < 1e-5 and wrong < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("kind", MAKERS)
def test_on_a_gpu_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.tiny_once", tiny)
    with torch.device("cuda"), torch.backends.cudnn.flags(enabled=False):
        apart, wrong = compare(kind, torch.float32, MIXED)
    assert apart < 1e-5 and wrong < 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_last_layer_is_computed_only_where_it_is_read(checkpointing: bool) -> None:
    """Of a copy of the model too, and when gradient checkpointing computes it again."""
    made = tiny("llava", torch.float64)
    forked: Shape = [(0, [([5, 6], [[5], [6]]), ([7], [[5], [6, 6]])])] * 2
    groups = grown(made, forked, "image").groups
    batch = lay_out(made.model, family_of(made.model), groups, in_kind(made.images(len(groups)), torch.float64))
    answer_token_logprobs(made.model, batch)
    model = copy.deepcopy(made.model).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    wide: list[int] = []
    first, *_, last = model.get_decoder().layers
    for layer in (first, last):
        layer.mlp.register_forward_pre_hook(lambda _, given: wide.append(given[0].shape[:2].numel()))
    answer_token_logprobs(model, batch).sum().backward()
    whole, read = batch.inputs["input_ids"].numel(), batch.tokens - made.width * len(groups)
    assert wide[0] == whole and wide[1] <= read and set(wide) == set(wide[:2])
    assert (len(wide) > 2) == checkpointing
    wide.clear()
    model.eval()(input_ids=torch.tensor([[1, 5, 6, 2]]))
    assert wide == [4, 4]


def test_attention_that_knows_no_segments_is_refused() -> None:
    """It would be wrong without a word."""
    made = tiny("llava", torch.float32)
    groups = random_groups(random.Random(1), made, "image")
    batch = lay_out(made.model, family_of(made.model), groups, made.images(len(groups)))
    made.model.config.get_text_config()._attn_implementation = "eager"
    with pytest.raises(TrainingError, match="eager"):
        answer_token_logprobs(made.model, batch)


def test_attention_that_adds_its_mask_is_given_one_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    """PaliGemma 2 has no other; added as truth values, a mask would hide nothing."""

    def eager(kind: str, dtype: torch.dtype) -> Tiny:
        made = tiny(kind, dtype)
        made.model.config.get_text_config()._attn_implementation = "eager"
        return made

    monkeypatch.setattr(f"{__name__}.tiny_once", eager)
    for kind in ("gemma3", "paligemma", "paligemma2"):
        apart, wrong = compare(kind, torch.float64, MIXED)
        assert apart < 1e-6 and wrong < 1e-6


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl", "gemma3"])
def test_in_half_precision_the_same_up_to_its_rounding(kind: str) -> None:
    """As the loop computes: weights in single precision, products in half of it."""
    with torch.autocast("cpu", torch.bfloat16):
        apart, wrong = compare(kind, torch.float32, MIXED)
    assert apart < 0.1 and wrong < 0.05
