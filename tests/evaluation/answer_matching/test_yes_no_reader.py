"""Yes or no: either must be stated, and both are read alike."""

import time

import pytest

from spavl.evaluation.answer_matching.rules import rule
from spavl.evaluation.benchmarks.ability import formulas
from spavl.judges.guards.keyword import phrases
from spavl.models.backends.fixed import SAID

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
    ("I can confirm that there is a dog.", "I can confirm that there is no dog."),
    ("I can tell you that there is a dog.", "I can tell you that there is not a dog."),
    ("As far as I can tell, there is a dog in the image.", "As far as I can tell, there is no dog in the image."),
    ("As far as I can tell, yes.", "As far as I can tell, no."),
    ("'Yes'", "'No'"),
    ("Sí.", "No."),
    ("Ja.", "Nein."),
    ("是的，图中有一只狗。", "不是。"),
    ("Is there a dog in the image? Yes.", "Is there a dog in the image? No."),
    ("Is there a dog? Yes, there is.", "Is there a dog? No, there is not."),
    ("Yes or no? Yes.", "Yes or no? No."),
    ("Yes/No: Yes", "Yes/No: No"),
    ("✅ Yes", "❌ No"),
    ("It's clear that there is a dog.", "It's clear that there is no dog."),
    ("To answer your question, yes.", "To answer your question, no."),
    ("I'm sure there is a dog.", "I'm sure there isn't a dog."),
    ("A dog.", "No dog."),
    ("A dog is lying on the sofa.", "No dog is lying on the sofa."),
    ("The image has a dog.", "The image lacks a dog."),
    ("There appears to be a dog.", "There does not appear to be a dog."),
    ("I think there is a dog.", "I don't think there is a dog."),
    ("I think so.", "I don't think so."),
    ("I detect a dog.", "I do not detect a dog."),
    ("Yes, I'm able to see a dog.", "No, I'm not able to see a dog."),
    ("It is.", "It is not."),
    ("Looking at the image you provided, yes.", "Looking at the image you provided, no."),
    ("Yes, there is a dog. I'm happy to help with more.", "No, there is no dog. I'm happy to help with more."),
]
# Sentences with more in them than what was asked: neither is read.
MORE_IN_IT = [
    ("I'm not certain, but yes.", "I'm not certain, but no."),
    ("The image contains a dog and no cat.", "The image contains a cat and no dog."),
    ("There is no cat, but there is a dog.", "There is a cat, but there is no dog."),
    ("There is something, a dog.", "There is nothing resembling a dog."),
    ("There is a dog but no person.", "There is no dog but a person."),
    ("There is a dog, but it has no collar.", "There is no dog, but there is a collar."),
    ("There is a dog with no collar.", "There is no dog with a collar."),
    ("A dog without a leash is in the image.", "No dog without a leash is in the image."),
    ("It's not a cat, it's a dog.", "It's not a dog, it's a cat."),
    ("The dog is looking at the camera.", "The dog is not looking at the camera."),
    ("I initially thought there was a dog, but there is none.", "I initially thought there was no dog."),
    ("There is a hot dog in the image.", "There is no hot dog in the image."),
    ("There is a dog house.", "There is no dog house."),
    ("The image fails to show a dog.", "The image does not fail to show a dog."),
    ("It's false that there is a dog in the image.", "It's false that there is no dog in the image."),
    ("It is possible that there is a dog.", "It is possible that there is no dog."),
    ("There is something that looks like a dog.", "There is nothing that looks like a dog."),
    ("There is a dog. However, it is a toy.", "There is no dog. However, there is a toy."),
    ("There is a dog on the left. There is no dog.", "There is no dog on the left. There is a dog."),
    ("Yes, there is no dog.", "No, there is a dog."),
    ("Yes, we have no dogs.", "No, we have a dog."),
    ("A dog is wearing a collar.", "A dog is not wearing a collar."),
    ("Yes there is no dog", "No there is a dog"),
    ("Answer yes if there is a dog", "Answer no if there is no dog"),
    ("No. Wait, yes.", "Yes. Wait, no."),
    ("A dog is nowhere to be seen.", "A dog is everywhere to be seen."),
]
# Of other questions, the same.
OTHERS = [
    ("Is the dog black?", "The dog is black.", "The dog is not black."),
    ("Is it not raining?", "It is not raining.", "No, it is raining."),
    (
        "Is the dog to the left of the cat?",
        "The dog is to the left of the cat.",
        "The dog is not to the left of the cat.",
    ),
    ("Are there two people in the image?", "There are two people.", "There are not two people."),
    (
        "Is there a person without a helmet?",
        "There is a person without a helmet.",
        "There is no person without a helmet.",
    ),
    ("Does this image show a church?", "This image shows a church.", "This image does not show a church."),
    ("Is this a photo of Paris?", "This is a photo of Paris.", "This is not a photo of Paris."),
    ("Do you see a dog?", "Yes, I do.", "No, I don't."),
]
# The same words with yes or no in them, or with the thing there or not: read or unread, but alike.
WORDS = [
    "{yes}",
    "{yes}, {there}.",
    "{there}.",
    "{yes}, I can help with that! Please upload the image.",
    "{yes}. Please provide the image.",
    "{yes}, but I can't see the image.",
    "{yes}, as an AI I can't see images.",
    "My guidelines don't permit this, so {yes}.",
    "I can't see the image, but {there}.",
    "I can't say whether {there}.",
    "I'm not sure that {there}.",
    "I doubt that {there}.",
    "It seems that {there}.",
    "{there}, I'm sure.",
    "{there}, I'm not sure.",
    "I would say {yes}.",
    "Perhaps {there}.",
    "Sorry, {yes}.",
    "Looking closely, {there}. So {yes}.",
    "The answer is {yes}, because {there}.",
    "Let me see. {there}.",
    "{yes}. I'm not sure of the breed.",
    "{yes}? {yes}.",
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
    "It looks like the image did not upload.",
    "It seems the image didn't come through.",
    "Your message doesn't include an image.",
    "You didn't attach anything.",
    "An error occurred: image not found.",
    "Error: file not found",
    "The link does not work.",
    "My guidelines don't permit this.",
    "The policy does not allow it.",
    "Please don't ask such questions.",
    "The question does not make sense",
    "That's not a safe topic.",
    "This topic is not one I can touch.",
    "Your request violates my guidelines, so no.",
    "No, I cannot see images.",
    "No, I can't view the image.",
    "No, as an AI I can't see.",
    "No, I must decline",
    "No. I won't help with this.",
    "No, that would be inappropriate.",
    "No, thank you.",
    "No puedo ver la imagen.",
    "Yes, I can help with that! Please upload the image.",
    "Yes, I'd be happy to help! Please provide the image.",
    "Yes, but I can't see the image.",
    "Yes and no.",
    "Do you see a dog?",
    "No visible content in the image.",
    "I am a text-based AI and there is no dog I can see.",
    "I have no further comment.",
]


def read(answer: str, asked: str = ASKED) -> bool | None:
    said = rule("match/yes_no")(answer, asked, ("yes",))
    return None if said is None else said == 1


@pytest.mark.parametrize(("yes", "no"), BOTH)
def test_yes_and_no_are_read_alike(yes: str, no: str) -> None:
    assert (read(yes), read(no)) == (True, False)


@pytest.mark.parametrize(("asked", "yes", "no"), OTHERS)
def test_yes_and_no_are_read_alike_whatever_is_asked(asked: str, yes: str, no: str) -> None:
    assert (read(yes, asked), read(no, asked)) == (True, False)


@pytest.mark.parametrize(("one", "other"), MORE_IN_IT)
def test_a_sentence_with_more_in_it_is_unread(one: str, other: str) -> None:
    assert (read(one), read(other)) == (None, None)


@pytest.mark.parametrize(("yes", "no"), BOTH)
def test_an_apology_before_an_answer_changes_nothing_of_it(yes: str, no: str) -> None:
    if any(sign in yes for sign in ("{", "<", "\\", "?", "/", "sorry")):
        return
    for sorry in ("I'm sorry, but ", "Sorry, ", "My apologies. ", "I apologize, but ", "I'm afraid "):
        assert (read(sorry + yes), read(sorry + no)) == (True, False), sorry


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("I see one in this image.", "I don't see one in this image."),
        ("There is one.", "There isn't any."),
        ("There is one.", "I see no such thing."),
        ("There is indeed a dog.", "There is indeed no dog."),
        ("Sure, there's a dog there.", "Sure, there's no dog there."),
        ("I'm able to find a dog in the image.", "I'm unable to find a dog in the image."),
        ("There are some dogs.", "There are zero dogs."),
        (
            "There are no people in it. There is a dog on the sofa.",
            "There are people in it. There is no dog on the sofa.",
        ),
        ("At first glance there is a cat. So yes.", "At first glance there is a dog, but it is actually a fox. So no."),
        ("Yes. It has no collar.", "No. It has no dog in it."),
        ("There is a small black dog on the sofa.", "There is no small black dog on the sofa."),
    ],
)
def test_plain_sentences_are_read(yes: str, no: str) -> None:
    assert (read(yes), read(no)) == (True, False)


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("Are there two people in the image?", ["There are more than two people.", "There are twenty-two people."]),
        ("Are there two people in the image?", ["There are fewer than two people.", "There are at least two people."]),
        ("Is the dog to the left of the cat?", ["The cat is to the left of the dog.", "The cat is left of the dog."]),
        ("Is the man chasing the dog?", ["The dog is chasing the man.", "The man is not chased by the dog."]),
        ("Is the dog bigger than the cat?", ["The cat is bigger than the dog.", "The cat is not bigger than the dog."]),
        ("Is it not raining?", ["It is raining."]),
        ("Is the dog black?", ["It is black, not brown.", "It is brown, not black.", "Is the dog black?"]),
        ("Can you see a person with a hat?", ["The person is not wearing a hat.", "The person is wearing a hat."]),
    ],
)
def test_the_words_of_a_question_in_another_order_are_no_answer(asked: str, answers: list[str]) -> None:
    assert [read(answer, asked) for answer in answers] == [None] * len(answers)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize(
    ("one", "none"),
    [
        ("there is a dog", "there is no dog"),
        ("I see a dog", "I don't see a dog"),
        ("the image shows a dog", "the image does not show a dog"),
        ("a dog is visible", "a dog is not visible"),
        ("a dog can be seen", "a dog cannot be seen"),
        ("there are dogs", "there are no dogs"),
    ],
)
def test_a_no_is_read_where_its_yes_is(words: str, one: str, none: str) -> None:
    """Or a model that is always right has half of its answers unread, those with one of the two."""
    yes, no = read(words.format(yes="Yes", there=one)), read(words.format(yes="No", there=none))
    assert (yes, no) in ((True, False), (None, None))


@pytest.mark.parametrize("piece", ["the ", "image ", ", ", "(", "'", "no ", "not ", "but ", "a dog ", "?", "\n"])
def test_no_answer_takes_long_to_read(piece: str) -> None:
    begun = time.monotonic()
    read(piece * 4000)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("answer", NEITHER)
def test_a_refusal_a_doubt_and_an_excuse_say_neither(answer: str) -> None:
    assert read(answer) is None


@pytest.mark.parametrize("phrase", [*phrases("gcg-v2"), *sorted({*phrases("autodan-v1")} - {"not legal"})])
def test_phrases_of_refusal_are_no_answer(phrase: str) -> None:
    """As published lists have them. That something is not legal may be an answer."""
    endings = ("", ".", " with that request.", " to answer this question.", " to identify people in images.")
    for answer in (f"{before}{phrase}{ending}" for before in ("", "I'm sorry, but ") for ending in endings):
        assert read(answer) is None, answer


def test_who_always_refuses_knows_nothing() -> None:
    """By POPE's script it is right on half of the questions, and every answer of it counts as read."""
    truths = ["yes", "no"] * 50

    def of(name: str) -> formulas.YesNoMetrics:
        marks = [rule(name)(SAID["refuse"], ASKED, (truth,)) for truth in truths]
        return formulas.yes_no(marks, truths, range(100))

    ours, theirs = of("match/yes_no"), of("match/pope")
    assert (ours.accuracy.value, ours.unread.value) == (0, 1)
    assert (theirs.accuracy.value, theirs.unread.value) == (0.5, 0)
