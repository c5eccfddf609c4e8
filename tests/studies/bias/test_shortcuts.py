"""A planted shortcut is found, chance is 0.5 within its interval, and no image is both learned from and scored."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.records import Sample
from spavl.studies.bias.shortcuts import (
    BLOCKS,
    FEWEST_IMAGES,
    LEARNED_FIRST,
    ProbeScore,
    Shortcut,
    audit_shortcuts,
    probe_score,
)
from spavl.studies.bias.shortcuts import ProbeRows as Rows
from tests.support.shortcut_pairs import image_bytes, pairs, swap

TELLS: tuple[Shortcut, ...] = ("length", "refusal", "first words", "words", "responder")


def probes(samples: Sequence[Sample], with_images: bool = False) -> dict[Shortcut, ProbeScore]:
    audit = audit_shortcuts(samples, image_bytes if with_images else None)
    return {probe.shortcut: probe for probe in audit.probes}


def accuracy(probe: ProbeScore) -> float:
    assert probe.accuracy and probe.auc
    return probe.accuracy.value


@settings(max_examples=2)
@given(st.integers(0, 10**6))
def test_swapping_chosen_and_rejected_changes_no_number(seed: int) -> None:
    """A rule that finds the chosen answer finds the rejected one."""
    samples = pairs(np.random.default_rng(seed), images=FEWEST_IMAGES)
    before, after = probes(samples), probes([swap(sample) for sample in samples])
    for shortcut in TELLS:
        assert before[shortcut] == replace(after[shortcut], random_labels=before[shortcut].random_labels)


def test_the_order_of_pairs_changes_no_number() -> None:
    samples = pairs(np.random.default_rng(0), images=FEWEST_IMAGES)
    before, after = probes(samples), probes(samples[::-1])
    for shortcut in TELLS:
        one, other = before[shortcut], after[shortcut]
        assert (one.accuracy is None) == (other.accuracy is None) == (shortcut == "refusal")
        if one.accuracy and one.auc:
            assert one.accuracy == pytest.approx(other.accuracy) and one.auc == pytest.approx(other.auc)


def test_a_planted_shortcut_is_found_by_its_own_probe() -> None:
    rng = np.random.default_rng(0)
    longer = probes(pairs(rng, plant=lambda one, other, _: (f"{one} {one} {other} more", other)))
    assert accuracy(longer["length"]) == 1 and longer["refusal"].accuracy is None
    begun = probes(pairs(rng, plant=lambda one, other, _: (f"gladly {one}", f"kindly {other}")))
    assert accuracy(begun["first words"]) == 1 and accuracy(begun["words"]) > 0.95
    assert abs(accuracy(begun["length"]) - 0.5) < 0.15
    refused = probes(pairs(rng, plant=lambda one, other, _: (f"I'm sorry, I can't help. {one}", other)))
    assert accuracy(refused["refusal"]) == 1
    named = [replace(each, chosen_model="one", rejected_model="two") for each in pairs(rng)]
    assert accuracy(probes(named)["responder"]) == 1
    nowhere = audit_shortcuts(named, None).strongest()
    assert nowhere and nowhere.shortcut == "responder"


def test_only_the_image_tells_which_kind_of_answer_is_chosen() -> None:
    """Refusals are chosen where the image is dark. Nothing in the texts says so."""
    rng, refusal = np.random.default_rng(0), "I'm sorry, I can't help."
    plain = pairs(rng, images=100, of_each=2)
    dark = {f"image{number}" for number in range(0, 100, 2)}

    def read(blob: str) -> bytes:
        return shade(20 if blob in dark else 200, int(blob.removeprefix("image")))

    samples = [replace(each, **{"chosen" if each.blob in dark else "rejected": refusal}) for each in plain]
    found = {probe.shortcut: probe for probe in audit_shortcuts(samples, read).probes}["image: refusal"]
    assert found.auc and found.auc.value > 0.99 and found.accuracy is None
    assert found.random_labels and found.random_labels.low < 0.5 < found.random_labels.high
    unrelated = [replace(each, **{str(rng.choice(["chosen", "rejected"])): refusal}) for each in plain]
    found = {probe.shortcut: probe for probe in audit_shortcuts(unrelated, read).probes}["image: refusal"]
    assert found.auc and found.auc.low < 0.5 < found.auc.high


def shade(level: int, number: int) -> bytes:
    from PIL import Image

    from tests.support.images import encoded

    return encoded(Image.new("RGB", (16 + number % 3, 16), (level, level + number % 5, level)), "PNG")


def test_what_identifies_an_image_is_no_shortcut() -> None:
    """Each image has a word of its own, in its chosen or its rejected answers: known images alone give it away."""
    rng = np.random.default_rng(0)
    chosen_has = {f"image{number}": bool(rng.integers(2)) for number in range(40)}

    def plant(one: str, other: str, blob: str) -> tuple[str, str]:
        return (f"{one} {blob} {blob} {blob}", other) if chosen_has[blob] else (one, f"{other} {blob} {blob} {blob}")

    leaking = pairs(rng, images=40, of_each=10, plant=plant)
    grouped = probes(leaking)["words"]
    apart = probes([replace(each, blob=each.question_id) for each in leaking])["words"]
    assert grouped.accuracy and grouped.accuracy.low < 0.5 < grouped.accuracy.high
    assert accuracy(apart) > 0.8


def test_what_cannot_be_measured_says_why() -> None:
    samples = pairs(np.random.default_rng(0), images=FEWEST_IMAGES)
    unknown = probes([replace(each, chosen_model="", rejected_model="") for each in samples])["responder"]
    assert unknown.accuracy is None and "unknown" in unknown.not_measured
    few = probes(samples[:30])["length"]
    assert few.accuracy is None and f"{FEWEST_IMAGES} are needed" in few.not_measured
    assert not audit_shortcuts([], None).strongest()
    json.dumps(audit_shortcuts(samples, image_bytes).as_json(), allow_nan=False)


def null_misses(draws: int, columns: int, images: int) -> float:
    """How often the interval of a probe on noise misses 0.5; an image's pairs have similar features."""
    missed = 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        shared = np.repeat(rng.normal(size=(images, columns)), 3, axis=0)
        signs = np.repeat(rng.choice([-1, 1], images), 3)[:, None]
        features = ((shared * signs + rng.normal(size=shared.shape)) / columns**0.5).astype(np.float32)
        blobs = [str(place // 3) for place in range(3 * images)]
        rows = Rows(features, np.ones(len(blobs), dtype=bool), blobs, differences=True)
        found = probe_score("words", rows, seed).accuracy
        assert found
        missed += not found.low <= 0.5 <= found.high
    return missed / draws


def test_noise_is_at_chance_within_its_interval() -> None:
    assert null_misses(40, 2, 40) < 0.05 + 3 * (0.05 * 0.95 / 40) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 5, 40])
@pytest.mark.parametrize("images", [40, 150])
def test_noise_is_at_chance_at_the_nominal_rate(columns: int, images: int) -> None:
    assert null_misses(500, columns, images) < 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5


def cross_validated_misses(draws: int, folds: int) -> float:
    """The same with ordinary cross-validation of one feature, whose interval takes its scores for independent."""
    missed = 0
    for seed in range(draws):
        signs = np.random.default_rng(seed).choice([-1, 1], 400)
        own = np.arange(400) % folds
        rest = np.array([signs.sum() - signs[own == fold].sum() for fold in range(folds)])
        right = (np.sign(signs * rest[own]) + 1) / 2
        missed += abs(right.mean() - 0.5) > 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 400)
    return missed / draws


def test_the_interval_of_cross_validation_would_miss_it_more_often() -> None:
    """Why probes are validated forward: the folds of cross-validation learn from each other's labels."""
    assert cross_validated_misses(1000, 5) > 0.1
    assert 0 < LEARNED_FIRST < BLOCKS
