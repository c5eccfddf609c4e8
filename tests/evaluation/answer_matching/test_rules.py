"""Answers scored without a judge: our rules and the published ones, on examples worked by hand."""

import itertools
import math
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.errors import ConfigError
from spavl.evaluation.answer_matching.rules import RULES, rule
from spavl.evaluation.answer_matching.vqa_words import as_textvqa, as_vqa
from spavl.evaluation.benchmarks.ability import formulas
from spavl.evaluation.benchmarks.ability.instructions import asked_with, options_of
from spavl.statistics import wilson

ASKED = asked_with("Which is it?", ["a red bus", "a bus", "a dog", "none of these"])


def score(name: str, answer: str, *references: str, question: str = ASKED) -> float | None:
    return rule(f"match/{name}")(answer, question, references)


NO_NUMBER = ["many", "2 dogs and 3 cats", "", "a 2D drawing", "someone", "twenty-one dogs", "at least 2", "two dozen"]
NO_NUMBER += [
    "more than two",
    "two and a half",
    "between 2 and 2",
    "No.",
    "I can't answer this one.",
    "I have no idea.",
]
NO_NUMBER += ["There is no image attached.", "No image was provided.", "I cannot tell; no clear view."]
# Options gone through by number: X is the one that is called the answer, if one is.
NUMBERED = [
    "1) dog\n2) cat\n3) bird\n\nAnswer: X",
    "1. The image shows a dog.\n2. It has four legs.\n\nTherefore the answer is X.",
    "**1. dog** - no\n**2. cat** - yes\nThe correct answer is X",
    "Answer: X. Option 1 is wrong.",
    "3 dogs are shown, so the answer is X",
    "X. cat",
    "(X)",
    "Option X: cat",
    "I choose X",
    "The answer is option X.",
]
UNNUMBERED = [
    "1: 3%, 2: 90%",
    "1. dog 2. cat 3. bird",
    "(1) dog (2) cat (3) bird",
    '{"1": 0.03, "2": 0.9}',
    "1? No. 2? Yes.",
    "Option 1 is wrong.",
    "Option X or option 2",
    "The answer is 1. Wait, the answer is 2.",
    "Answer: X... actually, option 2.",
    "I can't say whether the answer is X.",
    "The answer is 12",
    "It is not X.",
]


class TestYesNo:
    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ("Yes", "yes"),
            ("yes, there is.", "yes"),
            ("No.", "no"),
            ("No, but yes in the next one", "no"),
            ("There is no dog here.", "no"),
            ("I would say yes.", "yes"),
            ("\n**Yes**", "yes"),
            ("There is not a dog.", "no"),
            ("There isn’t a dog in the picture.", "no"),
            ("I do not see a dog", "no"),
            ("Yes, not one but two.", "yes"),
        ],
    )
    def test_what_is_said_is_read(self, answer: str, said: str) -> None:
        asked = "Is there a dog in the picture?"
        assert score("yes_no", answer, said, question=asked) == 1
        assert score("yes_no", answer, "no" if said == "yes" else "yes", question=asked) == 0

    @pytest.mark.parametrize(
        "answer",
        [
            "",
            "Maybe",
            "I know of nothing",
            "It could be yes or no",
            "A dog on a sofa.",
            "It is not clear",
            "I do not know if there is",
            "Not sure.",
            "I cannot see the picture",
            "I would not say yes",
        ],
    )
    def test_what_says_neither_is_not_read(self, answer: str) -> None:
        assert score("yes_no", answer, "yes") is None

    def test_the_published_script_takes_such_answers_for_a_yes(self) -> None:
        assert score("pope", "I cannot tell", "yes") == 1
        assert score("pope", "There is not a dog. Yes.", "no") == 1
        assert score("pope", "NO", "yes") == 1


class TestNumber:
    @pytest.mark.parametrize(
        ("answer", "number"),
        [
            ("3", "3"),
            ("<think>2 dogs and 1 cat</think>\n\\boxed{3}", "3"),
            ('{"reasoning": "one, two", "answer": "3"}', "3"),
            ("There are three dogs.", "3"),
            ("None", "0"),
            ("a single boat", "1"),
            ("There are 1,200 of them", "1200"),
            ("Two; yes, 2.", "2"),
            ("2.0", "2"),
            ("-3", "-3"),
            ("There are thirteen dogs", "13"),
            ("There are no dogs.", "0"),
            ("I see no dogs.", "0"),
        ],
    )
    def test_the_one_number_named_is_read(self, answer: str, number: str) -> None:
        assert score("number", answer, number) == 1
        assert score("number", answer, "7") == 0

    @pytest.mark.parametrize("answer", NO_NUMBER)
    def test_none_or_several_are_not_read(self, answer: str) -> None:
        assert score("number", answer, "2") is None

    def test_the_right_answer_tells_whether_a_number_is_looked_for(self) -> None:
        assert [score("short", "No, two of them", right) for right in ("No", "2", "Yes")] == [1, None, 0]
        assert [score("short", "There are two", right) for right in ("No", "2")] == [None, 1]

    def test_the_published_rule_finds_words_inside_others(self) -> None:
        assert score("oodcv", "I know it", "No") == 1 and score("yes_no", "I know it", "no") is None
        assert score("oodcv", "There are 10", "1") == 1 and score("number", "There are 10", "1") == 0


class TestChoice:
    @pytest.mark.parametrize(
        ("answer", "letter"),
        [
            ("B", "B"),
            ("b", "B"),
            ("(C)", "C"),
            ("C.", "C"),
            ("B. a bus", "B"),
            ("B) because it is", "B"),
            ("The answer is (D).", "D"),
            ("The answer is a dog", "C"),
            ("I think the correct option would be C", "C"),
            ("Option B, not option", "B"),
            ("It is a red bus.", "A"),
            ("It is a bus.", "B"),
            ("A dog", "C"),
            ("None of these.", "D"),
            ("the answer is b", "B"),
            ("the answer is a.", "A"),
            ("(b) a bus", "B"),
            ("c. because", "C"),
            ("Option A is wrong, so it must be C", "C"),
            ("Options A and B are incorrect, thus D.", "D"),
            ("It is not B but C.", "C"),
            ("The answer is B, not A.", "B"),
            ("B isn't right, (A) is.", "A"),
        ],
    )
    def test_the_option_taken_is_read(self, answer: str, letter: str) -> None:
        assert score("choice", answer, letter) == 1

    @pytest.mark.parametrize(
        "answer", ["", "I cannot say.", "a bus or a dog", "(A) or (B)", "The answer is unclear", "It is not B."]
    )
    def test_no_or_several_options_are_not_read(self, answer: str) -> None:
        assert score("choice", answer, "A") is None

    def test_options_are_the_last_ones_of_a_question(self) -> None:
        told = asked_with("Earlier?", ["x", "y", "z"]) + "\nB\n\n"
        assert options_of(told + ASKED)["A"] == "a red bus"
        assert list(options_of(told + asked_with("Now?", ["only\nthis", "that"])).items()) == [
            ("A", "only this"),
            ("B", "that"),
        ]

    @pytest.mark.parametrize(
        ("answer", "right"),
        [
            ("2", 1),
            ("2. 5 cm", 1),
            ("The answer is 2", 1),
            ("3", 0),
            ("B", None),
            ("**Answer:** 2", 1),
            ("<think>1 or 3?</think>The answer is **2**.", 1),
            ("\\boxed{2}", 1),
            ('{"answer": 2}', 1),
            ("1 or 2", None),
            ("The answer is 1 or 2", None),
        ],
    )
    def test_options_by_number(self, answer: str, right: float | None) -> None:
        assert score("numbered", answer, "2") == right

    def test_the_number_that_is_called_the_answer_is_taken_and_no_first_one(self) -> None:
        asked = "Which?\n1. dog\n2. cat\n3. bird\nAnswer with the option's number from the given choices directly."
        for form, taken in itertools.product(NUMBERED, "123"):
            found = [score("numbered", form.replace("X", taken), right, question=asked) for right in "123"]
            assert found == [right == taken for right in "123"], form.replace("X", taken)
        for form, right in itertools.product(UNNUMBERED, "123"):
            assert score("numbered", form.replace("X", "3"), right, question=asked) is None, form


class TestVqa:
    @staticmethod
    def by_the_formula(said: str, people: list[str]) -> float:
        """As published: over each nine of the ten, min(1, how many said the same / 3)."""
        return mean(
            min(1.0, sum(p == said for k, p in enumerate(people) if k != out) / 3) for out in range(len(people))
        )

    @pytest.mark.parametrize(("same", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
    def test_hand_worked_examples(self, same: int, accuracy: float) -> None:
        people = ["red"] * same + ["blue"] * (10 - same)
        assert score("consensus", "red", *people) == score("vqa", "red", *people) == pytest.approx(accuracy)

    @given(st.lists(st.sampled_from(["red", "blue", "green", "two"]), min_size=1, max_size=10), st.sampled_from("rb"))
    def test_it_is_the_published_formula(self, people: list[str], first: str) -> None:
        said = {"r": "red", "b": "blue"}[first]
        spelled = [word.replace("two", "2") for word in people]
        assert score("consensus", said, *people) == pytest.approx(self.by_the_formula(said, spelled))

    @pytest.mark.parametrize(
        ("text", "compared"),
        [
            ("The dog", "dog"),
            ("Two dogs!", "2 dogs"),
            ("none", "0"),
            ("dont", "don't"),
            ("couldnt've", "couldn't've"),
            ("couldntve", "couldntve"),
            ("t-shirt", "t shirt"),
            ("red, blue", "red blue"),
            ("1,000", "1000"),
            ("3.5", "3.5"),
            ("end.", "end"),
            ("a  b\n c", "b c"),
        ],
    )
    def test_words_are_made_alike_as_published(self, text: str, compared: str) -> None:
        assert as_vqa(text) == compared

    def test_textvqa_parts_words_first(self) -> None:
        assert (as_textvqa("Mary's"), as_vqa("Mary's")) == ("mary 's", "mary's")
        assert (as_textvqa("a,b"), as_vqa("a,b")) == ("ab", "b")
        assert score("textvqa", "Joe's", *["joe 's"] * 10) == 1

    def test_without_people_nothing_is_right(self) -> None:
        assert score("consensus", "red") == score("vqa", "red") == 0

    def test_ours_reads_an_answer_wherever_it_stands(self) -> None:
        for answer in ("**Red**", "<think>blue?</think>red", "\\boxed{\\text{red}}", '{"answer": "red"}'):
            assert score("consensus", answer, *["red"] * 10) == score("exact", answer, "red") == 1

    def test_gqa_is_exact_but_for_case_and_marks(self) -> None:
        assert (score("exact", "Left.", "left"), score("exact", "to the left", "left")) == (1, 0)


class TestFigures:
    def test_pope_on_a_hand_made_table(self) -> None:
        # 5 there: 3 seen and one answer not read; 5 not there: 1 seen all the same, and one answer not read.
        marks = [1.0, 1.0, 1.0, 0.0, None, 1.0, 1.0, 1.0, 0.0, None]
        truths = ["yes"] * 5 + ["no"] * 5
        found = formulas.yes_no(marks, truths, range(10))
        assert [each.value for each in found] == pytest.approx([6 / 10, 3 / 4, 3 / 5, 2 * 3 / (4 + 5), 4 / 10, 2 / 10])
        assert [each.n for each in found] == [10, 4, 5, 6, 10, 10]

    @given(st.lists(st.tuples(st.sampled_from([1.0, 0.0]), st.booleans()), min_size=1, max_size=60))
    def test_f1_is_the_harmonic_mean(self, rows: list[tuple[float, bool]]) -> None:
        said = [(mark == 1) == truth for mark, truth in rows]
        hits = sum(one and truth for one, (_, truth) in zip(said, rows, strict=True))
        found = formulas.yes_no(
            [mark for mark, _ in rows], ["yes" if yes else "no" for _, yes in rows], range(len(rows))
        )
        if hits:
            precision, recall = hits / sum(said), hits / sum(truth for _, truth in rows)
            assert found.f1.value == pytest.approx(2 * precision * recall / (precision + recall))
        for each in found:
            assert each.n == 0 or each.low <= each.value <= each.high

    def test_a_model_that_always_says_yes(self) -> None:
        found = formulas.yes_no([1.0, 0.0], ["yes", "no"], range(2))
        assert (found.yes_ratio.value, found.recall.value, found.precision.value) == (1, 1, 0.5)

    def test_answers_that_cannot_be_read_make_no_model_look_good(self) -> None:
        found = formulas.yes_no([1.0] * 6 + [None] * 54, ["yes", "no"] * 30, range(60))
        assert (found.accuracy.value, found.unread.value) == (0.1, 0.9)
        assert found.f1.high < 0.5

    def test_the_strict_accuracy_wants_every_order_right(self) -> None:
        assert formulas.circular([1, 1, 1, 0, 1, None], ["a", "a", "b", "b", "c", "c"]) == wilson(1, 3)

    def test_chefs_figures(self) -> None:
        right = {share: [1.0] * round(40 * share) + [0.0] * round(40 - 40 * share) for share in (0.25, 0.5, 0.75)}
        chance, alone = [0.25] * 40, range(40)
        assert formulas.above_chance(right[0.75], right[0.5], chance, alone).value == pytest.approx(0.5)
        assert formulas.gain_above_chance(right[0.5], right[0.75], chance, alone).value == pytest.approx(1)
        same = formulas.above_chance(right[0.75], right[0.75], chance, alone)
        assert same.value == 1 and 0.8 < same.low < 1 < same.high < 1.2, "what is never seen to differ may yet"
        assert formulas.match_ratio([1, 0, None, 0], range(4)).value == 0.75
        # Two bins: sure of .9 and half right, sure of .1 and never right.
        found = formulas.calibration_error([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0], range(4), bins=2)
        assert found.value == pytest.approx((0.8 + 0.2) / 4) and 0 <= found.low < found.value < found.high
        assert formulas.calibration_error([1.0, 1.0, 0.0], [1, 1, 0], range(3)).value == 0

    def test_what_cannot_be_told_is_not_a_number(self) -> None:
        by_chance = formulas.above_chance([1, 0, 0, 0], [1, 1, 0, 0], [0.25] * 4, range(4))
        assert math.isnan(by_chance.value) and (by_chance.low, by_chance.high) == (-math.inf, math.inf)
        assert set(by_chance.as_json().values()) == {None, 4}
        assert math.isnan(formulas.match_ratio([], []).value) and math.isnan(formulas.yes_no([], [], []).f1.value)


@given(st.text(max_size=60), st.sampled_from(sorted(RULES)))
def test_no_answer_breaks_a_rule(answer: str, name: str) -> None:
    mark = RULES[name](answer, ASKED, ("A",))
    assert mark is None or 0 <= mark <= 1


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="no rule of matching") as caught:
        rule("match/nothing")
    assert "match/yes_no" in caught.value.then
