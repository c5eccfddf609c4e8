"""Multiple choice: whichever letter is right, the same answers are read."""

import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.evaluation.answer_matching.rules import rule
from spavl.evaluation.benchmarks.ability.instructions import asked_with

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
    "X\n<reasoning>Y has no wheels</reasoning>",
    "<answer>X</answer><reasoning>Y?</reasoning>",
    "Option X shows the TEXT, so X.",
    "The answer is X. I'm happy to help with more.",
]
# Answers that go through all options first; ALL is a line for each: "A<sign> words".
REASONED = [
    "Let's analyze each option:\n\nALL)\n\nTherefore, the correct answer is X.",
    "Let's analyze each option:\n\nALL.\n\nTherefore, the answer is X.",
    "Let's evaluate each choice:\nALL:\n\nAnswer: X",
    "Let's evaluate each option:\n\nALL**\n\nThe correct answer is **X. TEXT**.",
    "To answer, consider each option:\n\nALLo\n\nSo the answer is X.",
    "Let's look at each possible answer:\n\nALL)\n\nThe correct option is X.",
    "Consider the following answer choices:\n\nALL.\n\nAnswer: X",
    "Here is every option\n\nALL.\n\nFinal answer: X",
    "The options are\n\nALL.\n\n**X**",
    "X\n\nExplanation:\nALLn",
    "**X**\n\nALLn",
    "Let's go through each option.\nALLn\nSo the answer is X.",
]
LINES = {")": "{}) {}: no such thing.", ".": "{}. {} - perhaps.", ":": "- {}: {}, no.", "**": "- **{}. {}**: no."}
LINES |= {"o": "- **Option {}**: no.", "n": "- {}: no."}
# Y is not what is taken in the end.
TURNED = [
    "The answer cannot be Y, so it is X",
    "The answer can't be Y; it is X.",
    "I initially thought the answer was Y, but it is X",
    "At first the answer seems to be Y. Wait, the answer is X.",
    "The answer could be Y or Z, but X is the best answer.",
    "<seed:think>The answer is Y</seed:think>X",
    "[THINK]The answer is Y.[/THINK]The answer is X.",
    "[THINK]Y?[/THINK]X",
    "<|channel|>analysis<|message|>Y?<|end|><|start|>assistant<|channel|>final<|message|>X",
    "<unused94>thought\nThe answer is Y<unused95>X",
    "<|START_THINKING|>The answer is Y<|END_THINKING|>X",
    "analysisThe answer is Y.assistantfinalThe answer is X.",
    "While Y might seem plausible, the correct answer is X.",
    "Option Y would be the answer if it had wheels. The answer is X.",
    "X<|im_end|>",
]
UNREAD = [
    "Anything but a small dog.",
    "The picture lacks a small dog.",
    "A small dog is not in it.",
    "It is not a red bus, an old car or a small dog.",
    "There might be a small dog.",
    "The correct answer is not listed. A small dog is closest.",
    "A: a tall tree",
    "A: tall tree",
    "A – tall tree",
    "The answer is A: a tall tree",
    "",
    "There is no small dog.",
    "It is not a small dog",
    "The image doesn't show an old car.",
    "Let's analyze each option:\n\nA) it has wheels.",
    "Let's analyze each option:\n\nA) A red bus has wheels.\nB) A tall",
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


@pytest.mark.parametrize("form", REASONED)
def test_reasoning_over_all_options_favours_no_letter(form: str) -> None:
    """Five forms of it read right where A was, and not at all elsewhere."""
    for number in (4, 8):
        shown = SHOWN[:number]
        for place in range(number):
            begin, sign, end = re.split(r"ALL(\*\*|.)", form)
            lines = "\n".join(LINES[sign].format(*each) for each in zip(LETTERS, shown, strict=False))
            said = spelled(begin, place, shown) + lines + spelled(end, place, shown)
            assert [read(said, letter, shown) for letter in LETTERS[:number]] == [n == place for n in range(number)]


@pytest.mark.parametrize("form", TURNED)
def test_what_was_only_thought_of_is_not_taken(form: str) -> None:
    shown = SHOWN[:4]
    for taken, other in itertools.product("ABCD", repeat=2):
        third = next(letter for letter in "ABCD" if letter not in (taken, other))
        said = form.replace("Y", other).replace("Z", third).replace("X", taken)
        if taken != other or "<" in form or "[" in form:
            assert read(said, taken, shown) == 1, said


def test_an_option_is_not_taken_by_a_denial_of_it() -> None:
    shown = SHOWN[:4]
    for answer in ("It's not a red bus, it's a small dog.", "Not a red bus but a small dog", "small dog, not red bus"):
        assert read(answer, "C", shown) == 1
    asked = asked_with("Is there a dog?", ["Yes", "No", "Not sure"])
    assert rule("match/choice")("There is no dog.", asked, ("B",)) == 1, "where an option is a no"


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
