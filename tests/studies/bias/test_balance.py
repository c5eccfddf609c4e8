"""A balanced set has each pair's mirror, is the same in any order of the pairs, and hides the shortcuts."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.judges.refusal_regex import seems_refused
from spavl.records import Sample
from spavl.studies.bias.balance import USUAL, BalancedBy, balance_pairs, random_subset
from spavl.studies.bias.balancing_effect import balancing_effect
from spavl.text.similarity import count_words
from tests.support.shortcut_pairs import pairs, swap

answers = st.sampled_from(
    ["I'm sorry, I can't help.", "yes", "yes it is", "no", "no it is not that at all", "perhaps so"]
)
bys = st.lists(st.sampled_from([*USUAL, "responder"]), min_size=1, unique=True)


@st.composite
def data_sets(draw: st.DrawFn) -> list[Sample]:
    rows = draw(st.lists(st.tuples(answers, answers), max_size=20))
    plain = pairs(np.random.default_rng(0), images=len(rows), of_each=1)
    return [
        Sample(**{**each.fields(), "chosen": one, "rejected": two})
        for each, (one, two) in zip(plain, rows, strict=True)
    ]


@given(data_sets(), bys)
def test_any_rule_on_balanced_features_is_right_in_half_of_the_pairs(
    samples: list[Sample], by: list[BalancedBy]
) -> None:
    kept = balance_pairs(samples, 0, by)
    if "refusal" in by:
        gaps = [seems_refused(each.chosen) - seems_refused(each.rejected) for each in kept.samples]
        assert sum(gaps) == 0
    if "length" in by:
        signs = [np.sign(count_words(each.chosen) - count_words(each.rejected)) for each in kept.samples]
        assert sum(signs) == 0
    if "responder" in by:
        counted = Counter((each.chosen_model, each.rejected_model) for each in kept.samples)
        assert all(counted[one, other] == counted[other, one] for one, other in counted)
    if "first word" in by:
        first = Counter((each.chosen.split()[0], each.rejected.split()[0]) for each in kept.samples)
        assert all(first[one, other] == first[other, one] for one, other in first)
    assert kept.differing % 2 == 0 and kept.before == len(samples)


@given(data_sets(), st.integers(0, 3), bys)
def test_nothing_is_dropped_twice_and_order_and_swapping_do_not_matter(
    samples: list[Sample], seed: int, by: list[BalancedBy]
) -> None:
    kept = balance_pairs(samples, seed, by).samples
    assert balance_pairs(kept, seed, by).samples == kept
    turned = balance_pairs(samples[::-1], seed, by).samples
    assert turned[::-1] == kept
    swapped = balance_pairs([swap(each) for each in samples], seed, by).samples
    assert [swap(each) for each in swapped] == list(kept)


def test_pairs_that_are_balanced_already_are_all_kept() -> None:
    samples = pairs(np.random.default_rng(0))
    mirrored = [*samples, *map(swap, samples)]
    assert balance_pairs(mirrored, 0).samples == tuple(mirrored)


def test_other_seeds_keep_other_pairs_and_as_many() -> None:
    samples = pairs(np.random.default_rng(0), plant=lambda one, other, _: (one + " and more of it", other))
    sets = [balance_pairs(samples, seed, ("length",)).samples for seed in range(4)]
    assert len({len(each) for each in sets}) == 1 and len(set(sets)) > 1
    assert len(random_subset(samples, 7, 0)) == 7 and set(random_subset(samples, 7, 0)) <= set(samples)


def mostly_refusing(rng: np.random.Generator, images: int) -> Sequence[Sample]:
    """Four in five chosen answers refuse, and a fifth of the rejected ones."""

    def plant(one: str, other: str, _: str) -> tuple[str, str]:
        both = f"I'm sorry, I can't help. {one}", other
        return both if rng.random() < 0.8 else both[::-1]

    return pairs(rng, images=images, plant=plant)


def test_a_balanced_shortcut_tells_nothing() -> None:
    effect = balancing_effect(mostly_refusing(np.random.default_rng(0), 100), None, by=("refusal",))
    before, subset, after = (
        {probe.shortcut: probe for probe in audit.probes}["refusal"].accuracy
        for audit in (effect.before, effect.random_subset, effect.balanced)
    )
    assert before and subset and after
    assert before.low > 0.7 and subset.low > 0.6 and after.low < 0.5 < after.high
    assert effect.kept < effect.before.pairs == 300 and effect.random_subset.pairs == effect.kept


@pytest.mark.slow
def test_a_balanced_shortcut_is_at_most_slightly_below_chance() -> None:
    """An exactly balanced set reverses in its later pairs what its earlier ones taught: by about a standard error."""
    values = []
    for seed in range(300):
        samples = mostly_refusing(np.random.default_rng(seed), 100)
        audit = balancing_effect(samples, None, seed, by=("refusal",)).balanced
        found = {probe.shortcut: probe for probe in audit.probes}["refusal"].accuracy
        assert found
        values.append((found.value - 0.5) * math.sqrt(found.n))
    assert -0.8 < np.mean(values) < 0
