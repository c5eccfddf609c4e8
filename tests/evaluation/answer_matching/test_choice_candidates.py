"""Multiple choice where several options are named, or none in earnest: unread whichever letter is right."""

import itertools
from collections.abc import Sequence

import pytest

from tests.evaluation.answer_matching.test_choice_reader import SHOWN, read

# Two letters of which none is called the answer alone, or the one that is is taken back.
TAKEN_BACK = [
    "The answer is Y... wait, actually, it's X.",
    "The answer is Y. Wait, the answer is X.",
    "X (I am 90% sure; Y is the runner-up.)",
    "Answer: X (confidence: 0.9), second choice: Y",
    "Final answer: Y -> corrected: X",
    "Final answer: Y → corrected: X",
    "Y would be correct if there were one, but there isn't, so X.",
    "Most likely X, less likely Y.",
    "I can't say whether the answer is X.",
    "If it had wheels the answer would be X.",
    "It might be X.",
    "I don't think it's X.",
    "不选X",
    "X? No. Y? Yes.",
    "Option X?",
    "Avoid option X",
    "Choose anything but X",
    "Don't choose X",
    "The worst choice is X",
    "The least likely option is X",
    "X is the only wrong one",
    "I rule out X.",
    "The grade is X",
    "The letter on the sign is X",
    "X > Y",
    "X. Y is also possible.",
    "Answer: X\nNo, Y.",
]
# Options gone through on one line or on several, with a word for each, of which one is another than the rest.
GONE_THROUGH = [
    '{{{}}}|"X": @|, ',
    "{}|X: @|\n",
    "{}|X: @|, ",
    "{}|X (@)|, ",
    "{}|(X) @| ",
    "{}|X. @| ",
    "{}|X) @|, ",
    "{}|[X] @| ",
    "{}|**X**: @| ",
    "{}|- (X): @|\n",
    "{}|X = @|, ",
    "{}|X → @|; ",
    "{}|P(X)=@|, ",
    "{}|X @|\n",
    "{}|X is @|, ",
    "{}|Option X: @|. ",
    "{}|X. @|\n",
]
WORDS_OF_EACH = [
    ("true", "false"),
    ("TRUE", "FALSE"),
    ("1", "0"),
    ("0.9", "0.03"),
    ("90%", "3%"),
    ("yes", "no"),
    ("correct", "wrong"),
    ("Correct", "Incorrect"),
    ("✅", "❌"),
    ("matches", "does not match"),
]
# What withholds an answer takes no option, whatever words the options are of.
WITHHELD = [
    "I'm sorry, but I can't help with that.",
    "I can't assist with that. No further comment.",
    "There is no image attached.",
    "No image was provided.",
    "I have no idea.",
    "No comment.",
    "I see no image.",
    "I have no way to see the image.",
    "No problem! Please share the image.",
    "There is not enough information, so no answer can be given.",
    "Sure! Yes, I can help with that. Please share the image.",
    "Yes, I'd be happy to help! Please share the image.",
]


@pytest.mark.parametrize("form", TAKEN_BACK)
def test_what_is_taken_back_or_doubted_is_unread(form: str) -> None:
    for taken, other in itertools.permutations("ABCD", 2):
        said = form.replace("Y", "\0").replace("X", taken).replace("\0", other)
        assert read(said, taken, SHOWN[:4]) is None, said


@pytest.mark.parametrize("form", GONE_THROUGH)
def test_options_gone_through_favour_no_letter(form: str) -> None:
    """An A at the beginning was the answer, so that these were right where A was and wrong elsewhere."""
    whole, each, between = form.split("|")

    def said(words: Sequence[str]) -> str:
        parts = [each.replace("X", letter).replace("@", word) for letter, word in zip("ABCD", words, strict=True)]
        return whole.format(between.join(parts))

    for one, rest in WORDS_OF_EACH:
        told = [said([one if place == right else rest for place in range(4)]) for right in range(4)]
        found = [read(text, letter, SHOWN[:4]) for text, letter in zip(told, "ABCD", strict=True)]
        assert found in ([None] * 4, [1] * 4), told
    for shown in itertools.permutations(SHOWN[:4]):
        assert read(said(shown), "A", list(shown)) is None, "options restated"
        assert read(f"{said(shown)}\nIt shows a small dog.", "A", list(shown)) is None
        assert read(f"{said(shown)}\nAnswer: C", "C", list(shown)) == 1


@pytest.mark.parametrize("answer", WITHHELD)
@pytest.mark.parametrize("shown", [["yes", "no"], ["True", "False"], ["Yes", "No", "Not sure"], ["image", "text"]])
def test_what_withholds_an_answer_takes_no_option(answer: str, shown: list[str]) -> None:
    for options in itertools.permutations(shown):
        assert read(answer, "A", list(options)) is None, options


def test_where_the_options_are_yes_and_no_either_must_be_stated() -> None:
    for options in itertools.permutations(["yes", "no", "not sure"]):
        for said in ("Yes.", "No.", "Yes, it is.", "The answer is no.", "I'm sorry, no.", "Not sure."):
            word = next(word for word in ("not sure", "yes", "no") if word in said.casefold())
            assert read(said, "ABC"[options.index(word)], list(options)) == 1, said


def test_a_letter_that_names_something_in_the_image_is_not_taken_over_words() -> None:
    """Of a figure, a panel, a point. With the words of another option beside it, it is unread."""
    for letter, form in itertools.product(
        "ABCD", ("Figure X shows a small dog", "In panel (x), a small dog is shown.")
    ):
        said = form.replace("X", letter).replace("(x)", f"({letter.lower()})")
        assert read(said, letter, SHOWN[:4]) in ((None,) if letter != "C" else (None, 1)), said
    for letter, form in itertools.product("ABCD", ("Grade: X. It is a small dog.", "Vitamin X is shown")):
        assert read(form.replace("X", letter), letter, SHOWN[:4]) in ((None,) if letter != "C" else (None, 1)), letter
