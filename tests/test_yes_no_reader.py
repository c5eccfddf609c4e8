"""Yes or no: either must be stated, and both are read alike."""

import pytest

from spavl.benchmarks import figures
from spavl.benchmarks.matching import rule
from spavl.judges.words import phrases
from spavl.models.fixed import SAID

ASKED = "Is there a dog in the image?\nAnswer the question using a single word or phrase."
# Each form with yes and with no.
BOTH = [
    ("Yes", "No"),
    ("yes.", "no."),
    ("**Yes**", "**No**"),
    ("**Answer:** Yes", "**Answer:** No"),
    ("The answer is: Yes", "The answer is: No"),
    ("\\boxed{\\text{Yes}}", "\\boxed{\\text{No}}"),
    ('{"answer": "yes"}', '{"answer": "no"}'),
    ("<think>There is no cat.</think>Yes", "<think>Yes, a cat.</think>No"),
    ("<answer>Yes</answer>", "<answer>No</answer>"),
    ("Based on the image, yes.", "Based on the image, no."),
    ("Let me look at it. Yes.", "Let me look at it. No."),
    ("There is a dog in the image.", "There is no dog in the image."),
    ("There are dogs.", "There are no dogs."),
    ("I can see a dog.", "I can't see a dog."),
    ("I see a dog in the image.", "I don't see a dog in the image."),
    ("The image shows a dog.", "The image does not show a dog."),
    ("A dog is visible.", "A dog is not visible."),
    ("I'm sorry, but yes.", "I'm sorry, but there is no dog in the image."),
]
NEITHER = [
    "I do not feel comfortable answering",
    "I'm not able to see the image",
    "I'm not able to help with that.",
    "I am unable to answer.",
    "I will not answer this",
    "I won't answer that.",
    "I'd rather not say",
    "I'm not comfortable with identifying people",
    "I'm not going to answer that",
    "I do not wish to describe this person",
    "This is not appropriate",
    "It would not be right for me to answer",
    "It is not something I can discuss",
    "This request cannot be fulfilled.",
    "We do not do that here",
    "I cannot determine whether there is a dog.",
    "I cannot confirm that there is a dog in the image.",
    "It's not possible to say whether there is a dog",
    "There is no way to tell",
    "I have no idea",
    "I have no information about that",
    "The image is not clear enough",
    "The image is not visible",
    "There is no image attached.",
    "No image was provided.",
    "I do not see an image.",
    "I don't have access to the image.",
    "No comment.",
    "No, I cannot help with that.",
    "No problem, here we go",
    "Yes or no?",
    "There might be a dog",
    "There is a cat in the image.",
]


def read(answer: str) -> bool | None:
    said = rule("match/yes_no")(answer, ASKED, ("yes",))
    return None if said is None else said == 1


@pytest.mark.parametrize(("yes", "no"), BOTH)
def test_yes_and_no_are_read_alike(yes: str, no: str) -> None:
    assert (read(yes), read(no)) == (True, False)


@pytest.mark.parametrize("answer", NEITHER)
def test_a_refusal_a_doubt_and_an_excuse_say_neither(answer: str) -> None:
    assert read(answer) is None


@pytest.mark.parametrize("phrase", [*phrases("gcg-v1"), *sorted({*phrases("autodan-v1")} - {"not legal"})])
def test_phrases_of_refusal_are_no_answer(phrase: str) -> None:
    """As published lists have them. That something is not legal may be an answer."""
    endings = ("", ".", " with that request.", " to answer this question.", " to identify people in images.")
    for answer in (f"{before}{phrase}{ending}" for before in ("", "I'm sorry, but ") for ending in endings):
        assert read(answer) is None, answer


def test_who_always_refuses_knows_nothing() -> None:
    """By POPE's script it is right on half of the questions, and every answer of it counts as read."""
    truths = ["yes", "no"] * 50

    def of(name: str) -> figures.YesNo:
        marks = [rule(name)(SAID["refuse"], ASKED, (truth,)) for truth in truths]
        return figures.yes_no(marks, truths, range(100))

    ours, theirs = of("match/yes_no"), of("match/pope")
    assert (ours.accuracy.value, ours.unread.value) == (0, 1)
    assert (theirs.accuracy.value, theirs.unread.value) == (0.5, 0)
