"""Multiple choice: whichever letter is right, the same answers are read."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.benchmarks.matching import rule
from spavl.benchmarks.options import asked_with

SHOWN = ["red bus", "a tall tree", "small dog", "an old car", "wet road", "the blue sky", "round table", "iron gate"]
SHOWN += ["green hat", "dark cave"]
LETTERS = "ABCDEFGHIJ"
# Forms in which models answer and published extractors read: X is the right letter, x the same in small, Y another
# letter, TEXT the right option. Those with A, I or other options' words in them tried to mislead.
FORMS = [
    "X",
    "x",
    "X.",
    "X)",
    "(X)",
    "[X]",
    "**X**",
    "*X*",
    "__X__",
    "`X`",
    "# X",
    "> X",
    "- X",
    "X\n\nExplanation: A dog is seen.",
    "X. TEXT",
    "x. TEXT",
    "(x) TEXT",
    "X: TEXT",
    "X) TEXT",
    "X.TEXT",
    "X - TEXT",
    "X TEXT",
    "**X. TEXT**",
    "X because it fits",
    "X, because it fits.",
    "Answer X",
    "Answer: X",
    "ANSWER: X",
    "Answer - X",
    "Answer:\nX",
    "Answer: (X) TEXT",
    "Answer: **X. TEXT**",
    "**Answer:** X",
    "**Answer: X** Explanation: the TEXT is seen",
    "### Answer\nX",
    "Correct answer: X",
    "Final answer: **X**",
    "Step 1: look.\nStep 2: think.\n\n**Final Answer: X**",
    "The answer is X.",
    "the answer is x",
    "the answer is x.",
    "THE ANSWER IS X",
    "The correct answer is **X**.",
    "The correct answer is X: TEXT",
    "The answer is (X) TEXT.",
    "The answer is $X$.",
    'My answer is "X"',
    "The answer is option X: TEXT",
    "The answer to the question is X.",
    "So the answer must be X",
    "I think the answer is X because it fits.",
    "The correct option is (X).",
    "The correct choice is option X",
    "The best option is X, TEXT.",
    "Option X",
    "Option (X)",
    "Choice: X",
    "Hence, option X is correct.",
    "X is the correct answer.",
    "**X** is correct.",
    "I would choose X.",
    "I choose option X.",
    "It's X.",
    "Based on the image, X.",
    "A dog and a bus are in the image, so X.",
    "I see a bus. X",
    "Let me think. A dog is in the image. I see it. Therefore, the answer is X.",
    "\\boxed{X}",
    "$\\boxed{X}$",
    "\\boxed{\\text{X}}",
    "\\text{X}",
    "\\[\\boxed{\\mathrm{(X)}}\\]",
    "<answer>X</answer>",
    "<think>A or B? A bus is red.</think>\n<answer>X</answer>",
    "<think>Let me look. A bus is red.</think>X",
    "I think it may be Y.\n</think>\n\nThe answer is X",
    "<|begin_of_box|>X<|end_of_box|>",
    '{"answer": "X"}',
    '```json\n{"reasoning": "A bus is red", "answer": "X"}\n```',
    "{'choice': 'X'}",
    "答案是X",
    "答案：X",
    "It is not Y but X.",
    "The answer is X, not Y.",
    "Option Y is wrong, so it must be X",
    "Y is incorrect. X is correct.",
    "Neither Y nor Z, so X.",
    "~~Y~~ X",
    "TEXT",
    "The TEXT is shown.",
    "I believe it is the TEXT.",
]
UNREAD = [
    "",
    "A or B",
    "(A) or (B)",
    "A/B",
    "A, B",
    "**A** and **C**",
    "Both A and B look right",
    "The answer is A or B",
    "\\boxed{A} or \\boxed{B}",
    '{"answer": ["A", "B"]}',
    "A. red bus\nB. a tall tree\nC. small dog",
    "The options are A, B, C and D.",
    "The answer is A. Wait, the answer is C.",
    "not A",
    "A zebra",
    "A picture of something",
    "A-frame house",
    "e.g. this",
    "I cannot tell",
    "I'm sorry, but I can't help with that.",
    "As an AI, I cannot see images.",
    "Grade A beef",
    "<think>The answer is B",
    "<answer></answer>",
    "Z",
    "The answer is unclear",
]


def read(answer: str, right: str, shown: list[str]) -> float | None:
    return rule("match/choice")(answer, asked_with("Which is it?", shown), (right,))


def spelled(form: str, place: int, shown: list[str]) -> str:
    letters = LETTERS[: len(shown)]
    other, third = (letters[(place + step) % len(shown)] for step in (1, 2))
    small = form.startswith(("x", "(x)")) or "is x" in form
    words = {"TEXT": shown[place], "X": letters[place], "Y": other, "Z": third}
    if small:
        words["x"] = letters[place].lower()
    # The words of the option last: they may hold any letter.
    for sign in ("X", "Y", "Z", *(["x"] if small else []), "TEXT"):
        form = form.replace("TEXT", "\0") if sign == "X" else form
        form = form.replace("\0" if sign == "TEXT" else sign, words[sign])
    return form


@pytest.mark.parametrize("form", FORMS)
def test_every_letter_is_read_alike(form: str) -> None:
    """The published complaint: 0.00 where A was right and 1.00 elsewhere."""
    for number in (4, 8, 10):
        shown = SHOWN[:number]
        right = [read(spelled(form, place, shown), LETTERS[place], shown) for place in range(number)]
        assert right == [1.0] * number


@given(st.permutations(SHOWN[:8]), st.sampled_from(FORMS), st.integers(0, 7), st.integers(0, 7))
def test_accuracy_does_not_depend_on_where_the_right_option_stands(
    shown: list[str], form: str, place: int, told: int
) -> None:
    """An answer that takes the option `told` is right if that is the right one, wrong if not, and read always."""
    assert read(spelled(form, told, shown), LETTERS[place], shown) == float(told == place)


@pytest.mark.parametrize("answer", UNREAD)
def test_what_takes_no_option_or_several_is_unread(answer: str) -> None:
    assert [read(answer, right, SHOWN[:4]) for right in "ABCD"] == [None] * 4


def test_two_letters_are_unread_whichever_they_are() -> None:
    forms = ("X or Y", "X and Y", "(X), (Y)", "X/Y", "X & Y", "The answer is X or Y.", "X or Y is right", "X, Y")
    for (one, other), form in itertools.product(itertools.permutations(LETTERS[:8], 2), forms):
        assert read(form.replace("X", one).replace("Y", other), one, SHOWN[:8]) is None, (form, one, other)


def test_letters_in_the_words_of_an_option_are_no_choice_of_another() -> None:
    """ScienceQA asks so."""
    shown = ["neither; they are the same", "Solution A", "Solution B"]
    said = ["Solution A", "The answer is Solution B.", "B. Solution A", "A", "Neither; they are the same."]
    assert [read(answer, right, shown) for answer, right in zip(said, "BCBAA", strict=True)] == [1] * 5


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A small dog", "C"),
        ("Answer: A small dog", "C"),
        ("THE ANSWER IS A SMALL DOG", "C"),
        ("A dog, small dog", "C"),
        ("Option A shows a bus. Option B shows a tree. The answer is D.", "D"),
        ("A. red bus: no.\nB. a tall tree: no.\nThe answer is C.", "C"),
        ("The answer is A. Final answer: C", "C"),
        ("It is the small dog (option C).", "C"),
    ],
)
def test_the_surest_way_decides(answer: str, letter: str) -> None:
    assert read(answer, letter, SHOWN[:4]) == 1


@pytest.mark.parametrize(
    "piece", ["(", "A ", "\n", "**", "<think>", "\\boxed{", "A or ", '"', "answer ", "{'a': ", "not A "]
)
def test_no_answer_takes_long_to_read(piece: str) -> None:
    begun = time.monotonic()
    read(piece * 4000, "A", SHOWN[:4])
    assert time.monotonic() - begun < 2
