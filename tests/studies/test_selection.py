"""Which pairs a cell trains on: subsets of subsets, criteria that hold, and noise that changes only labels."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.errors import ConfigError
from spavl.records import Sample
from spavl.studies.config import PairSelection
from spavl.studies.data import StudyData, open_data
from spavl.studies.selection import leaves_named, select_pairs
from spavl.terminal.progress import Screen
from tests.support.studies import write_study_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyData]:
    folder = tmp_path_factory.mktemp("selection")
    source = write_study_data(folder / "set")
    with open_data({"": str(source)}, folder / "study", Screen(quiet=True)) as opened:
        yield opened[""]


@given(st.data())
def test_of_two_sizes_the_smaller_is_a_part_of_the_larger(data: StudyData, draws: st.DataObject) -> None:
    seed = draws.draw(st.integers(0, 5))
    small, large = sorted(draws.draw(st.tuples(st.integers(1, 30), st.integers(1, 30))))
    few, many = (select_pairs(data, PairSelection(pairs=size), seed) for size in (small, large))
    assert {each.id for each in few} <= {each.id for each in many}
    assert len(few) == min(small, len(data.pairs))


@given(st.integers(0, 5), st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)))
def test_noise_swaps_that_share_and_nothing_else(data: StudyData, seed: int, shares: tuple[float, float]) -> None:
    less, more = sorted(shares)
    clean = select_pairs(data, PairSelection(), seed)
    noisy = {share: select_pairs(data, PairSelection(noise=share), seed) for share in (less, more)}
    swapped = {}
    for share, pairs in noisy.items():
        swapped[share] = {one.id for one, other in zip(clean, pairs, strict=True) if one != other}
        assert len(swapped[share]) == round(share * len(clean))
        for one, other in zip(clean, pairs, strict=True):
            if one != other:
                assert (one.chosen, one.chosen_model) == (other.rejected, other.rejected_model)
                assert (one.rejected, one.rejected_model) == (other.chosen, other.chosen_model)
            assert (one.question_id, one.blob, one.leaf) == (other.question_id, other.blob, other.leaf)
    assert swapped[less] <= swapped[more]


def test_seeds_draw_different_pairs(data: StudyData) -> None:
    drawn = {tuple(each.id for each in select_pairs(data, PairSelection(pairs=8), seed)) for seed in range(4)}
    assert len(drawn) > 1


def test_leaves_classes_and_domains_are_left_out_by_their_names(data: StudyData) -> None:
    whole = {each.leaf for each in data.pairs}
    without = select_pairs(data, PairSelection(without=("domain one",)), 1)
    only = select_pairs(data, PairSelection(only=("domain one",)), 1)
    assert {each.leaf for each in without} | {each.leaf for each in only} == whole
    assert not {each.id for each in without} & {each.id for each in only}
    assert leaves_named(data, ["leaf 1"]) == {"leaf 1"}
    with pytest.raises(ConfigError, match="no leaf, class or domain") as raised:
        select_pairs(data, PairSelection(without=("domain ome",)), 1)
    assert "domain one" in raised.value.then


def test_what_the_data_set_does_not_say_is_refused(data: StudyData) -> None:
    for selection in (PairSelection(responders="safe"), PairSelection(unsafe_chosen="drop")):
        with pytest.raises(ConfigError, match=r"the data set (does not name|has no verdicts)"):
            select_pairs(data, selection, 1)


@given(st.data())
def test_pairs_whose_chosen_answer_is_unsafe_are_dropped_before_noise_swaps_any(
    data: StudyData, draws: st.DataObject
) -> None:
    """Only what is known to be unsafe is dropped. What noise makes of the others is no reason to drop them."""
    seed, noise = draws.draw(st.integers(0, 3)), draws.draw(st.floats(0, 0.5))
    said = st.sampled_from(["safe", "unsafe", "invalid", None])
    answers = [(each.question_id, text) for each in data.pairs for text in (each.chosen, each.rejected)]
    drawn = {answer: draws.draw(said) for answer in answers}
    labels = {answer: label for answer, label in drawn.items() if label} | {("another question", "x"): "safe"}
    known = StudyData(data.run)
    known.__dict__["labels"] = labels
    wanted = [each for each in data.pairs if labels.get((each.question_id, each.chosen)) != "unsafe"]
    found = select_pairs(known, PairSelection(unsafe_chosen="drop", noise=noise), seed)
    assert [each.question_id for each in found] == [each.question_id for each in wanted]
    swapped = [one.chosen == other.rejected for one, other in zip(found, wanted, strict=True)]
    assert sum(swapped) == round(noise * len(wanted))
    clean = select_pairs(known, PairSelection(unsafe_chosen="drop"), seed)
    assert clean == wanted


def test_every_pair_is_one_of_the_training_split(data: StudyData) -> None:
    known = {each.id for each in data.pairs}
    pairs: list[Sample] = select_pairs(data, PairSelection(pairs=10), 3)
    assert all(each.id in known and each.split == "train" for each in pairs)
