"""A tree of rows gives its plain rows' scores and gradients: for every family, for trees of any shape."""

import copy
import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.families import BEGIN, END, MAKERS, PICTURE, Tiny, tiny
from torch import Tensor

from spavl.errors import TrainingError
from spavl.training.batch import Batch, lay_out
from spavl.training.encode import Group
from spavl.training.family import family_of
from spavl.training.forks import forks_of
from spavl.training.scoring import answer_token_logprobs, sorted_by_answer
from spavl.training.tree import Path, grow, visible

# --- the trie

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple)
paths = st.lists(tokens.map(lambda row: Path(row, len(row))), min_size=1, max_size=8)


@given(paths)
def test_every_row_is_found_again_in_the_tree_and_nothing_is_there_twice(rows: list[Path]) -> None:
    tree = grow(rows)
    for path, places in zip(rows, tree.places, strict=True):
        assert tuple(tree.tokens[place] for place in places) == path.tokens
        assert [tree.depths[place] for place in places] == list(range(len(path.tokens)))
    prefixes = {path.tokens[:end] for path in rows for end in range(1, len(path.tokens) + 1)}
    assert len(tree.tokens) == len(prefixes)


@given(paths)
def test_a_token_sees_its_own_row_up_to_itself_and_nothing_else(rows: list[Path]) -> None:
    tree = grow(rows)
    sees = visible(tree)
    for places in tree.places:
        for end, place in enumerate(places):
            assert set(sees[place].nonzero()[0].tolist()) == set(places[: end + 1])


@given(paths, paths)
def test_segments_see_what_the_mask_of_the_tree_shows(rows: list[Path], others: list[Path]) -> None:
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


def random_groups(rng: random.Random, made: Tiny, shares: str) -> list[Group]:
    """Pictures with questions with answers, as many as chance wants; some answers begin alike."""
    words = lambda most: [rng.randrange(3, 180) for _ in range(rng.randint(1, most))]  # noqa: E731
    groups: list[Group] = []
    number = 0
    for _ in range(rng.randint(1, 3)):
        head = [1, *words(3), BEGIN, *[PICTURE] * made.width, END]
        rows: list[Path] = []
        for _ in range(1 if shares == "prompt" else rng.randint(1, 3)):
            prompt = head + words(5)
            begun = words(3)
            rows += [
                Path((*prompt, *(begun if rng.random() < 0.5 else []), *words(6), 2), len(prompt))
                for _ in range(rng.randint(1, 3))
            ]
        groups.append(Group(list(range(number, number + len(rows))), rows))
        number += len(rows)
    return groups


def scores_of_plain_rows(made: Tiny, groups: list[Group], pictures: dict[str, Tensor]) -> list[Tensor]:
    """One row at a time, as the model's makers meant it."""
    scores = []
    for k, group in enumerate(groups):
        shown = {name: values.chunk(len(groups))[k] for name, values in pictures.items()}
        for path in group.paths:
            ids = torch.tensor([path.tokens])
            prompt = torch.arange(ids.shape[1])[None] < path.answer
            if hasattr(made.model.model, "rope_deltas"):
                made.model.model.rope_deltas = None
            logits = made.model(
                input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **shown, **made.marks(ids, prompt)
            ).logits[0]
            answer = ids[0, path.answer :]
            scores.append(logits[path.answer - 1 : -1].log_softmax(-1).gather(-1, answer[:, None])[:, 0])
    return scores


def gradients(model: Any, scores: list[Tensor]) -> dict[str, Tensor]:
    """Of a sum in which every answer counts differently, as in DPO."""
    model.zero_grad()
    torch.stack([torch.sin(score.sum() / 5) * (-0.9) ** k for k, score in enumerate(scores)]).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def compare(kind: str, dtype: torch.dtype, seed: int) -> tuple[float, float]:
    """The furthest any score and, relative to their norm, the gradients are from the plain rows'."""
    made = tiny(kind, dtype)
    family = family_of(made.model)
    groups = random_groups(random.Random(seed), made, family.shares)
    pictures = {
        name: values.to(dtype) if values.is_floating_point() else values
        for name, values in made.pictures(len(groups)).items()
    }
    plain = scores_of_plain_rows(made, groups, pictures)
    expected = gradients(made.model, plain)
    batch = lay_out(made.model, family, groups, pictures)
    scores = list(by_answer(answer_token_logprobs(made.model, batch), batch))
    found = gradients(made.model, scores)
    assert found.keys() == expected.keys() and any("vision" in name or "visual" in name for name in found)
    apart = max(float((a - b).detach().abs().max()) for a, b in zip(plain, scores, strict=True))
    wrong = sum(float((expected[name] - found[name]).square().sum()) for name in found) ** 0.5
    return apart, wrong / sum(float(each.square().sum()) for each in expected.values()) ** 0.5


def by_answer(logprobs_T: Tensor, batch: Batch) -> tuple[Tensor, ...]:
    return sorted_by_answer(logprobs_T, batch).split(batch.answer_T.bincount().tolist())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", MAKERS)
def test_a_tree_scores_and_teaches_as_its_plain_rows(kind: str, seed: int) -> None:
    apart, wrong = compare(kind, torch.float64, seed)
    # The models' own norms and rotations are in single precision, whatever the weights are.
    assert apart < 1e-6 and wrong < 1e-6


@pytest.mark.parametrize("kind", MAKERS)
def test_in_single_precision_too(kind: str) -> None:
    apart, wrong = compare(kind, torch.float32, seed=9)
    assert apart < 1e-5 and wrong < 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_last_layer_is_computed_only_where_it_is_read(checkpointing: bool) -> None:
    """Of a copy of the model too, and when gradient checkpointing computes it again."""
    made = tiny("llava", torch.float64)
    groups = random_groups(random.Random(2), made, "picture")
    batch = lay_out(made.model, family_of(made.model), groups, made.pictures(len(groups)))
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


def test_a_model_that_would_add_the_mask_to_its_scores_is_refused() -> None:
    """Eager attention would be wrong without a word: it knows no segments, and adds a mask's truth values."""
    for kind in ("llava", "gemma3"):
        made = tiny(kind, torch.float32)
        made.model.config.get_text_config()._attn_implementation = "eager"
        family = family_of(made.model)
        groups = random_groups(random.Random(1), made, family.shares)
        batch = lay_out(made.model, family, groups, made.pictures(len(groups)))
        with pytest.raises(TrainingError, match="eager"):
            answer_token_logprobs(made.model, batch)


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl", "gemma3"])
def test_in_half_precision_the_same_up_to_its_rounding(kind: str) -> None:
    """As the loop computes: weights in single precision, products in half of it."""
    with torch.autocast("cpu", torch.bfloat16):
        apart, wrong = compare(kind, torch.float32, seed=3)
    assert apart < 0.1 and wrong < 0.05
