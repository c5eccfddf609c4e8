"""The shares of a data set are those that counting gives, each with an interval over images."""

import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.statistics import rate_by_cluster
from spavl.studies.bias.shares import data_bias, place_of
from spavl.studies.bias.tables import data_tables
from spavl.text.language import language_of
from tests.support.shortcut_pairs import pairs, swap
from tests.text.test_text import SENTENCES


@settings(max_examples=4)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 3))
def test_shares_add_up_and_are_those_of_counting(seed: int, images: int, of_each: int) -> None:
    samples = pairs(np.random.default_rng(seed), images, of_each)
    bias = data_bias(samples, {"image0": "one.example"})
    totals: dict[str, float] = defaultdict(float)
    for each in bias.shares:
        totals[each.of] += each.share.value
        assert each.share.value == each.pairs / len(samples)
        assert each.share.low <= each.share.value <= each.share.high
    assert all(abs(total - 1) < 1e-9 for total in totals.values())
    shares = {(each.of, each.value): each for each in bias.shares}
    assert shares["image source", "one.example"].pairs == of_each
    leaf = [float(each.leaf == "leaf 0") for each in samples]
    assert shares["leaf", "leaf 0"].share == rate_by_cluster(leaf, [each.blob for each in samples])
    assert bias.pairs == len(samples) and bias.images == images


def test_swapping_the_answers_swaps_their_shares_and_mirrors_the_responders() -> None:
    samples = pairs(np.random.default_rng(0))
    one, other = (data_bias(own, {}) for own in (samples, [swap(each) for each in samples]))
    chosen = {each.value: each.share for each in one.shares if each.of == "chosen model"}
    assert chosen == {each.value: each.share for each in other.shares if each.of == "rejected model"}
    rates = {each.model: each.chosen.value for each in one.responders}
    assert {each.model: round(1 - each.chosen.value, 9) for each in other.responders} == {
        model: round(rate, 9) for model, rate in rates.items()
    }


def test_a_responder_against_itself_and_an_unknown_one_are_not_preferred() -> None:
    samples = pairs(np.random.default_rng(0), images=5)
    bias = data_bias([replace(each, chosen_model="one", rejected_model="one") for each in samples], {})
    assert not bias.responders


def test_everything_has_a_table_and_json() -> None:
    bias = data_bias(pairs(np.random.default_rng(0), images=5), {})
    tables = list(data_tables(bias))
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)
    assert sum(len(table.rows) for table in tables) == len(bias.shares) + len(bias.responders)
    json.dumps(bias.as_json(), allow_nan=False)
    assert data_bias([], {}).shares == ()


def test_languages_are_told_or_left_open() -> None:
    told = {code: language_of(text) for code, text in SENTENCES.items()}
    assert sum(told[code] == code for code in told) >= len(told) - 2
    assert language_of("") == language_of("12 + 3") == ""


def test_a_source_is_a_host_a_table_or_a_folder() -> None:
    assert place_of("https://Images.example/a/b.png?c=/d") == "images.example"
    assert place_of("miniature/1/2/8/toy") == "miniature"
    assert place_of("parquet:/some/table.parquet#17") == "parquet:/some/table.parquet"
    assert place_of("OWNER/NAME/17.png") == "OWNER/NAME"
    assert place_of("") == "unknown"
