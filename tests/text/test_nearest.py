"""A misspelt name is told what it was meant to be."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spavl.text.nearest import nearest, suggestion

_LETTERS = string.ascii_lowercase + "-_"
names = st.text(_LETTERS, min_size=3, max_size=16)


@st.composite
def slips(draw: st.DrawFn) -> tuple[str, str]:
    """A name, and the same after one slip of the fingers."""
    name = draw(names)
    place = draw(st.integers(0, len(name) - 1))
    letter = draw(st.sampled_from(_LETTERS))
    slip = draw(st.sampled_from(("more", "less", "other", "swapped")))
    before, after = name[:place], name[place:]
    typed = {
        "more": before + letter + after,
        "less": before + after[1:],
        "other": before + letter + after[1:],
        "swapped": before + after[1:2] + after[:1] + after[2:],
    }[slip]
    return name, typed


@given(slips())
def test_one_slip_finds_the_name(slip: tuple[str, str]) -> None:
    name, typed = slip
    assert nearest(typed, [name]) == [name]


@given(names, st.lists(names, max_size=8))
def test_a_name_that_is_known_comes_first(name: str, others: list[str]) -> None:
    known = [other for other in others if other.replace("_", "-") != name.replace("_", "-")]
    assert nearest(name, [*known, name])[0] == name
    assert nearest(name.upper().replace("-", "_"), [*known, name])[0] == name


@given(st.text(max_size=20), st.lists(st.text(max_size=12), max_size=8), st.randoms(use_true_random=False))
def test_only_known_names_are_given_and_their_order_changes_nothing(typed: str, known: list[str], rng: object) -> None:
    found = nearest(typed, known)
    assert set(found) <= set(known)
    assert len(found) <= 3
    assert nearest(typed, sorted(known)) == found


@given(names, names)
def test_names_of_other_letters_are_not_suggested(typed: str, name: str) -> None:
    assume(not set(typed.replace("_", "-")) & set(name.replace("_", "-")))
    assert nearest(typed, [name]) == []


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        ("biuld", ["demo", "build", "new"], "build"),
        ("learing-rate", ["training.loop.learning_rate", "training.dpo.beta"], "training.loop.learning_rate"),
        ("dop.beta", ["training.dpo.beta", "training.ppo.kl_coef"], "training.dpo.beta"),
        ("siute", ["suite", "seed", "guard"], "suite"),
        ("Per-Leaf", ["per_leaf", "relevance"], "per_leaf"),
        ("opneai", ["openai", "hf", "miniature", "fixed"], "openai"),
    ],
)
def test_slips_that_people_make(typed: str, known: list[str], meant: str) -> None:
    assert nearest(typed, known)[0] == meant


def test_a_whole_name_goes_before_one_that_only_ends_so() -> None:
    assert nearest("seeed", ["training.seed", "seed"]) == ["seed", "training.seed"]


def test_what_is_near_nothing_is_told_all_that_is_known() -> None:
    known = [f"name-{number}" for number in range(20)]
    assert suggestion("quux", known, "the names are") == f"the names are: {', '.join(known)}"
    assert suggestion("nmae-7", known, "the names are", "--{}").startswith("did you mean --name-7")
    assert suggestion("dmeo", ["demo", "new"]) == "did you mean demo?"
