"""Steps of whole images, or of pairs; and what a step of several pairs about one image is worth."""

import math
import random
from collections import Counter
from dataclasses import replace
from itertools import chain, groupby
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spavl.records import Sample
from spavl.training.objectives.gradient_noise import noise_correlation, pairs_to_measure, step_statistics
from spavl.training.objectives.microbatches import SampleOrder
from tests.support.training_objectives import sample

# Of each image, how many pairs are about it.
images = st.lists(st.integers(1, 12), min_size=1, max_size=30)
kinds = st.sampled_from(("images", "pairs"))


def about(sizes: list[int]) -> list[Sample]:
    """In an order of no meaning."""
    made = [
        replace(sample(0), blob=f"image {k}", question_id=f"{k}/{n}")
        for k, size in enumerate(sizes)
        for n in range(size)
    ]
    random.Random(0).shuffle(made)
    return made


def epochs_of(order: SampleOrder, epochs: int) -> list[list[list[Sample]]]:
    each = order.steps // epochs
    return [[order.at(epoch * each + place) for place in range(each)] for epoch in range(epochs)]


@given(images, st.integers(1, 10), st.integers(0, 99), kinds)
def test_every_sample_is_in_one_step_of_an_epoch_and_epochs_differ_by_their_seed_alone(
    sizes: list[int], per_step: int, seed: int, of: Literal["images", "pairs"]
) -> None:
    samples = about(sizes)
    order = SampleOrder(samples, per_step, 2, seed, of)
    first, second = epochs_of(order, 2)
    for steps in (first, second):
        assert sorted(each.id for each in chain(*steps)) == sorted(each.id for each in samples)
        assert all(steps) and len(steps) == math.ceil(len(samples) / per_step)
        for step in steps:
            blobs = [blob for blob, _ in groupby(each.blob for each in step)]
            assert len(blobs) == len(set(blobs)), "what shares a pass stands together"
    again = SampleOrder(samples, per_step, 2, seed, of)
    assert again.at(order.steps - 1) == order.at(order.steps - 1), "a step depends on its number alone"


@given(images, st.integers(1, 10), st.integers(0, 99))
def test_no_image_is_split_unless_it_is_larger_than_a_step_and_steps_are_as_asked_up_to_an_image(
    sizes: list[int], per_step: int, seed: int
) -> None:
    order = SampleOrder(about(sizes), per_step, 1, seed)
    (steps,) = epochs_of(order, 1)
    split = Counter(blob for step in steps for blob in {each.blob for each in step})
    for place, size in enumerate(sizes):
        assert split[f"image {place}"] <= math.ceil(size / per_step)
    asked, largest = sum(sizes) / len(steps), min(per_step, max(sizes))
    assert asked <= per_step
    assert all(asked - largest < len(step) < asked + largest for step in steps)


@given(images, st.integers(1, 10), st.integers(0, 99))
def test_steps_of_pairs_are_even(sizes: list[int], per_step: int, seed: int) -> None:
    (steps,) = epochs_of(SampleOrder(about(sizes), per_step, 1, seed, "pairs"), 1)
    held = {len(step) for step in steps}
    assert max(held) - min(held) <= 1 and max(held) <= per_step


def test_a_data_set_like_the_published_one_has_steps_of_the_size_that_was_asked_for() -> None:
    """The order was cut every eight pairs, and 70 % of the steps shared an image with the next."""
    rng = random.Random(1)
    order = SampleOrder(about([rng.choice((2, 3, 3, 3, 4, 5)) for _ in range(3000)]), 8, 1, 0)
    (steps,) = epochs_of(order, 1)
    sizes = Counter(map(len, steps))
    assert sizes[8] > 0.5 * len(steps) and set(sizes) <= {7, 8, 9}, sizes
    whole = Counter(blob for step in steps for blob in {each.blob for each in step})
    assert set(whole.values()) == {1}
    # Where a step's place said how large its images are, the warm-up would see large ones alone.
    places = [len({each.blob for each in step}) for step in steps]
    half = len(places) // 2
    assert abs(sum(places[:half]) / half - sum(places[half:]) / (len(places) - half)) < 0.1


@pytest.mark.parametrize("likeness", [0.0, 0.24, 0.8])
def test_what_a_step_is_worth_is_what_its_variance_says(likeness: float) -> None:
    """Gradients whose noise correlates so within an image; the mean's variance over many draws, in both kinds."""
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)  # noqa: E731
    samples = about([3] * 399)
    shared = {f"image {k}": draw(200) for k in range(399)}
    noise = {each.id: likeness**0.5 * shared[each.blob] + (1 - likeness) ** 0.5 * draw(200) for each in samples}
    gradients = {each.id: 0.3 + noise[each.id] for each in samples}

    def variance(of: Any) -> tuple[float, float]:
        steps = [step for epoch in epochs_of(SampleOrder(samples, 9, 20, 5, of), 20) for step in epoch]
        means = torch.stack([torch.stack([gradients[each.id] for each in step]).mean(0) for step in steps])
        return float(means.var(0).mean()), step_statistics(steps).independent_pairs(likeness)

    (grouped, worth), (free, free_worth) = variance("images"), variance("pairs")
    assert worth == pytest.approx(9 / (1 + 2 * likeness)) and free_worth == pytest.approx(9, rel=0.03)
    assert grouped / free == pytest.approx(free_worth / worth, rel=0.1)
    few = pairs_to_measure(samples)
    assert len(few) == 24 and len({each.blob for each in few}) == 8
    assert noise_correlation([(each.blob, gradients[each.id]) for each in few]) == pytest.approx(likeness, abs=0.06)


def test_where_no_image_has_two_pairs_there_is_nothing_to_measure() -> None:
    assert pairs_to_measure(about([1] * 9)) == [] and pairs_to_measure(about([5])) == []
    assert step_statistics([about([1] * 9)]).independent_pairs(0.9) == 9
