"""Published rules, each against a table worked by hand from what its makers' script does."""

import pytest

from spavl.evaluation.answer_matching.rules import RULES, rule
from spavl.evaluation.benchmarks.ability.instructions import asked_with

ASKED = asked_with("Which is it?", ["a red bus", "a bus", "a dog", "none of these"])
THREE = asked_with("Which is it?", ["a red bus", "a bus", "a dog"])


def score(name: str, answer: str, *references: str, question: str = ASKED) -> float | None:
    return rule(f"match/{name}")(answer, question, references)


@pytest.mark.parametrize(
    ("answer", "makers", "llava", "lmms_eval"),
    [
        # lupantech/ScienceQA draws an option where it finds no single `The answer is X.`: one in four is right.
        ("The answer is B.", 1, 1, 0),
        ("Because. The answer is B. It moves.", 1, 1, 0),
        ("The answer is C.", 0, 0, 0),
        ("The answer is B", 1 / 4, 0, 0),
        ("The answer is B. The answer is C.", 1 / 4, 0, 0),
        ("The answer is Z.", 1 / 4, 0, 0),
        ("B", 1 / 4, 1, 1),
        ("b", 1 / 4, 0, 1),
        ("B.", 1 / 4, 0, 1),
        ("B. a bus", 1 / 4, 1, 1),
        ("B.a bus", 1 / 4, 0, 1),
        ("B) a bus", 1 / 4, 0, 0),
        ("(B)", 1 / 4, 0, 0),
        ("C. The answer is B.", 1, 0, 0),
        ("I'm sorry, I can't help with that.", 1 / 4, 0, 0),
        ("", 1 / 4, 0, 0),
    ],
)
def test_scienceqa_by_its_makers_by_llava_and_by_lmms_eval(
    answer: str, makers: float, llava: float, lmms_eval: float
) -> None:
    names = ("scienceqa", "scienceqa-llava", "scienceqa-lmms-eval")
    assert [score(name, answer, "B") for name in names] == [makers, llava, lmms_eval]


def test_scienceqa_takes_no_letter_that_is_not_offered() -> None:
    assert (score("scienceqa-llava", "D", "D", question=THREE), score("scienceqa-llava", "D", "D")) == (0, 1)
    assert score("scienceqa", "The answer is D.", "D", question=THREE) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("answer", "people", "makers", "ours"),
    [
        # All ten alike: the makers compare what was written, and spell nothing alike.
        ("Yes", ["yes"] * 10, 0, 1),
        ("yes.", ["yes"] * 10, 0, 1),
        ("two", ["2"] * 10, 0, 1),
        ("the dog", ["dog"] * 10, 0, 1),
        ("yes\n", ["yes"] * 10, 1, 1),
        ("Yes", ["Yes"] * 10, 1, 1),
        # One says otherwise, and all are spelled alike.
        ("Yes.", ["yes"] * 9 + ["no"], 1, 1),
        ("2", ["two"] * 3 + ["three"] * 7, 0.9, 0.9),
        # Written in two ways, they do not all agree, though they are spelled alike.
        ("Yes", ["yes"] * 9 + ["Yes"], 1, 1),
    ],
)
def test_vqa_spells_alike_only_where_people_differ(answer: str, people: list[str], makers: float, ours: float) -> None:
    assert score("vqa", answer, *people) == pytest.approx(makers)
    assert score("consensus", answer, *people) == pytest.approx(ours)


@pytest.mark.parametrize(
    ("answer", "people", "accuracy"),
    [
        ("Unanswerable.", ["unanswerable"] * 10, 1),
        ("the dog", ["dog"] * 10, 1),
        # What people said is left as it is.
        ("dog", ["the dog"] * 10, 0),
        ("two", ["two"] * 10, 0),
        ("2", ["2"] * 2 + ["two"] * 8, 0.6),
    ],
)
def test_vizwiz_spells_the_answer_alone(answer: str, people: list[str], accuracy: float) -> None:
    assert score("vizwiz", answer, *people) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("answer", "makers", "llava", "ours"),
    [("left", 1, 1, 1), ("Left", 0, 1, 1), ("left.", 0, 1, 1), ("**left**", 0, 0, 1), ("to the left", 0, 0, 0)],
)
def test_gqa_by_its_makers_and_by_llava(answer: str, makers: float, llava: float, ours: float) -> None:
    assert [score(name, answer, "left") for name in ("gqa", "gqa-llava", "exact")] == [makers, llava, ours]


@pytest.mark.parametrize(
    ("answer", "says_yes"),
    [
        ("Yes", True),
        ("No", False),
        ("No, there is not.", False),
        ("no.", False),
        ("There is not one. Yes.", False),
        ("NO", True),
        ("Well. No", True),
        ("I cannot tell", True),
        ("I'm sorry, I can not help with that.", False),
        ("None", True),
    ],
)
def test_pope_looks_for_no_and_not_in_the_first_sentence(answer: str, says_yes: bool) -> None:
    assert (score("pope", answer, "yes"), score("pope", answer, "no")) == (says_yes, not says_yes)


def test_seed_by_its_first_character() -> None:
    assert [score("seed-lmms-eval", said, "B") for said in ("b) it", "Because", "(B)", "")] == [1, 1, 0, 0]


def test_each_rule_says_whose_it_is() -> None:
    for name, own in RULES.items():
        who, _, _ = (own.__doc__ or "").partition(":")
        _, _, other = name.partition("-")
        assert other in who.casefold() if other else who.startswith("Ours") or who.endswith("s authors"), name
