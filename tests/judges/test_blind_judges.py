"""Nobody passes the canaries by a surface of what is judged: an image beside it, its length, its first words, a word in
it, its place, or nothing at all. Each is tried as the whole of a judge, and as the one fault of a judge that is sound.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest

from spavl.judges.canaries.checks import (
    Canary,
    ask_canaries,
    canaries_of_guard,
    canaries_of_judge,
    canaries_of_questions,
    canaries_of_refusals,
)
from spavl.judges.guards.criteria import NAMES, CriteriaGuard, CriterionGuard
from spavl.judges.types import Choice, GuardVerdict, JudgeInput, PairwiseVote, RefusalVerdict
from spavl.records import Label
from tests.judges.test_canaries import REFUSES, just

Feature = Callable[[JudgeInput, str], Any]
SAFE_OR_NOT: tuple[Label, ...] = ("safe", "unsafe", "invalid")


def passed(canaries: Iterable[Canary]) -> bool:
    return all(word.passed for word in asyncio.run(ask_canaries(canaries)))


# --- what is sound


def truth(answer: str) -> GuardVerdict:
    return GuardVerdict("unsafe" if just(answer) else "safe", bool(REFUSES.search(answer)), "")


class Blind:
    """A guard, judge of refusals or guard of questions, by a function of the case and what was answered."""

    name = "blind"

    def __init__(self, word: Callable[[JudgeInput, str], GuardVerdict]) -> None:
        self.word = word
        self.seen: list[tuple[JudgeInput, str]] = []

    async def judge(self, case: JudgeInput, answer: str) -> GuardVerdict:
        self.seen.append((case, answer))
        return self.word(case, answer)

    async def classify(self, case: JudgeInput, answer: str) -> RefusalVerdict:
        self.seen.append((case, answer))
        word = self.word(case, answer)
        return RefusalVerdict("full_refusal" if word.refused else "full_compliance", "")

    async def judge_question(self, case: JudgeInput) -> Label:
        self.seen.append((case, case.question))
        return self.word(case, case.question).label


def sound() -> Blind:
    return Blind(lambda _, answer: truth(answer))


def harmful_question(_: JudgeInput, question: str) -> GuardVerdict:
    asks = re.search(r"frightens my neighbour|against the ruritanians|her savings", question, re.I)
    return GuardVerdict("unsafe" if asks else "safe", False, "")


# --- what can be seen without reading

FORM_WORDS = ("verdict", "severity", "refuses", "safe", "unsafe", "yes", "no")


def has_word(word: str) -> Feature:
    return lambda _, answer: re.search(rf"\b{word}\b", answer, re.I) is not None


FEATURES: dict[str, Feature] = {
    "nothing": lambda case, answer: True,
    "an image": lambda case, answer: case.image is not None,
    "a context": lambda case, answer: bool(case.context),
    "the question": lambda case, answer: case.question,
    "the question's length": lambda case, answer: len(case.question),
    "the length": lambda case, answer: len(answer),
    "the number of words": lambda case, answer: len(answer.split()),
    "the first word": lambda case, answer: answer.split()[:1],
    "the first letters": lambda case, answer: answer[:9],
    "an apology at the beginning": lambda case, answer: answer.lower().startswith(("i'm sorry", "sorry")),
    "the word sorry": has_word("sorry"),
    **{f"the word {word}": has_word(word) for word in FORM_WORDS},
}


def over(limit: int) -> Feature:
    return lambda case, answer: len(answer) > limit


class Kind(NamedTuple):
    """Whom a set of canaries is for, and how its right answers are told."""

    canaries: Callable[[Any], list[Canary]]
    right: Callable[[JudgeInput, str], GuardVerdict]
    says: Callable[[GuardVerdict], Any]
    words: tuple[GuardVerdict, ...]


LABELLED = tuple(GuardVerdict(label, refused, "") for label in SAFE_OR_NOT for refused in (True, False))
REFUSING = (GuardVerdict("safe", True, ""), GuardVerdict("safe", False, ""))
KINDS: dict[str, Kind] = {
    "guard": Kind(canaries_of_guard, lambda _, answer: truth(answer), lambda word: word.label, LABELLED),
    "guard of text": Kind(
        lambda guard: canaries_of_guard(guard, with_images=False),
        lambda _, answer: truth(answer),
        lambda word: word.label,
        LABELLED,
    ),
    "guard that tells refusals": Kind(
        canaries_of_guard, lambda _, answer: truth(answer), lambda word: word.refused, LABELLED
    ),
    "judge of refusals": Kind(
        canaries_of_refusals, lambda _, answer: truth(answer), lambda word: word.refused, REFUSING
    ),
    "judge of refusals in text": Kind(
        lambda judge: canaries_of_refusals(judge, with_images=False),
        lambda _, answer: truth(answer),
        lambda word: word.refused,
        REFUSING,
    ),
    "guard of questions": Kind(canaries_of_questions, harmful_question, lambda word: word.label, LABELLED),
}
TEXT_ALONE = ("guard of text", "judge of refusals in text")


def asked_of(kind: Kind) -> list[tuple[JudgeInput, str]]:
    """All that is asked, but what nobody says anything of: an empty answer."""
    judge = Blind(kind.right)
    assert passed(kind.canaries(judge)), "a sound one passes"
    return [(case, answer) for case, answer in judge.seen if answer]


@pytest.mark.parametrize("name", KINDS)
def test_a_sound_one_passes_and_is_asked_little(name: str) -> None:
    kind = KINDS[name]
    assert 5 <= len(asked_of(kind)) <= (20 if "guard" in name else 10)


def fitted(kind: Kind, feature: Feature) -> Callable[[JudgeInput, str], GuardVerdict]:
    """The best that can be done by a feature alone: what is right most often where it is so."""
    by_value: dict[str, list[GuardVerdict]] = {}
    for case, answer in asked_of(kind):
        by_value.setdefault(repr(feature(case, answer)), []).append(kind.right(case, answer))
    best = {value: max(words, key=words.count) for value, words in by_value.items()}
    return lambda case, answer: best.get(repr(feature(case, answer)), GuardVerdict("safe", False, ""))


@pytest.mark.parametrize("feature", [name for name in FEATURES if name != "the question"])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "guard of questions"])
def test_no_function_of_a_surface_passes_whatever_it_makes_of_it(name: str, feature: str) -> None:
    assert not passed(KINDS[name].canaries(Blind(fitted(KINDS[name], FEATURES[feature]))))


@pytest.mark.parametrize("name", KINDS)
def test_no_length_tells_right_from_wrong_wherever_the_line_is_drawn(name: str) -> None:
    kind = KINDS[name]
    lengths = {len(answer) for _, answer in asked_of(kind)} | {0, 200, 350}
    for limit in {each - below for each in lengths for below in (0, 1)}:
        for long in kind.words:
            for short in kind.words:
                blind = Blind(lambda _, answer, at=limit, one=long, two=short: one if len(answer) > at else two)
                assert not passed(kind.canaries(blind)), f"{long} over {limit} signs, else {short}"


def both_are_there(kind: Kind, feature: Feature) -> bool:
    return len({kind.says(kind.right(*each)) for each in asked_of(kind) if feature(*each)}) > 1


def faults_of(name: str) -> dict[str, Feature]:
    """Where one that else reads well may say one thing: right answers of either kind are asked for there."""
    found = {"no image": lambda case, answer: case.image is None, "nothing": FEATURES["nothing"]}
    if name not in TEXT_ALONE:
        found["an image"] = FEATURES["an image"]
    if name != "guard of questions":
        found |= {each: FEATURES[each] for each in ("an apology at the beginning", "the word sorry")}
    if name.startswith("guard") and name != "guard of questions":
        found["a context"] = FEATURES["a context"]
    if name in ("guard", "guard of text"):
        # No refusal stands behind pages: whether it refuses would depend on what the pages are to the question.
        found |= {each: FEATURES[each] for each in FEATURES if each.startswith("the word ")}
    return found


# As far as there are answers of either kind: beyond that nothing can be told.
FARTHEST = {"guard": 2000, "guard of text": 2000, "guard of questions": 70}


@pytest.mark.parametrize("name", KINDS)
def test_who_reads_well_but_says_one_thing_wherever_a_surface_is_so_is_found(name: str) -> None:
    kind, faults = KINDS[name], faults_of(name)
    limits = sorted({len(answer) - 1 for _, answer in asked_of(kind)} | {0})
    both = [limit for limit in limits if both_are_there(kind, over(limit))]
    assert both[-1] >= FARTHEST.get(name, 200)
    faults |= {f"over {limit} signs": over(limit) for limit in both}
    for fault, is_so in faults.items():
        assert both_are_there(kind, is_so), fault
        for said in {kind.says(word): word for word in kind.words}.values():

            def word(case: JudgeInput, answer: str, is_so: Feature = is_so, said: GuardVerdict = said) -> GuardVerdict:
                true = kind.right(case, answer)
                if not is_so(case, answer):
                    return true
                tells_refusals = isinstance(kind.says(said), bool)
                return true._replace(refused=said.refused) if tells_refusals else true._replace(label=said.label)

            assert not passed(kind.canaries(Blind(word))), f"{kind.says(said)} where there is {fault}"


class ByCriterion(Blind, CriterionGuard):
    def __init__(self, word: Callable[[JudgeInput, str], GuardVerdict], criterion: str) -> None:
        super().__init__(word)
        self.criterion = criterion


# By one criterion there is one question, and the line that a length may draw is tried below.
UNASKED = ("the question", "a context", "the length", "the number of words")


@pytest.mark.parametrize("criterion", [name for name in NAMES if name != "general"])
@pytest.mark.parametrize("feature", [name for name in FEATURES if name not in UNASKED])
def test_no_judge_by_one_criterion_goes_by_a_surface(criterion: str, feature: str) -> None:
    for with_images in (True, False):

        def canaries(guard: Any, with_images: bool = with_images) -> list[Canary]:
            own = ByCriterion(guard.word, criterion)
            own.seen = guard.seen
            return canaries_of_guard(own, with_images=with_images)

        kind = Kind(canaries, lambda _, answer: truth(answer), lambda word: word.label, LABELLED)
        assert len(asked_of(kind)) <= 20
        assert not passed(canaries(Blind(fitted(kind, FEATURES[feature]))))
        if feature == "an image" and not with_images:
            continue
        if feature in ("an image", "an apology at the beginning") or feature.startswith("the word "):
            for label in SAFE_OR_NOT:
                said = Blind(
                    lambda case, answer, label=label: (
                        truth(answer)._replace(label=label) if FEATURES[feature](case, answer) else truth(answer)
                    )
                )
                assert not passed(canaries(said)), label


@pytest.mark.parametrize("with_images", [True, False])
@pytest.mark.parametrize("criterion", [name for name in NAMES if name != "general"])
def test_no_length_tells_what_one_criterion_allows(criterion: str, with_images: bool) -> None:
    for limit in [*range(0, 400, 5), 3000]:
        for long, short in (("safe", "unsafe"), ("unsafe", "safe")):

            def word(case: JudgeInput, answer: str, at: int = limit, one: Any = long, two: Any = short) -> GuardVerdict:
                return truth(answer)._replace(label=one if len(answer) > at else two)

            assert not passed(canaries_of_guard(ByCriterion(word, criterion), with_images=with_images)), limit


def test_no_length_tells_what_criteria_allow() -> None:
    """Sound by harm itself, and blind by all that the other criteria ask."""

    class ByCriteria(Blind, CriteriaGuard):
        pass

    def by_length(limit: int, long: Label, short: Label) -> Callable[[JudgeInput, str], GuardVerdict]:
        return lambda case, answer: (
            truth(answer)._replace(label=long if len(answer) > limit else short) if case.criterion else truth(answer)
        )

    assert passed(canaries_of_guard(ByCriteria(lambda _, answer: truth(answer)), NAMES))
    for limit in range(0, 400, 5):
        for long, short in (("safe", "unsafe"), ("unsafe", "safe")):
            assert not passed(canaries_of_guard(ByCriteria(by_length(limit, long, short)), NAMES))


# --- two answers

Pairwise = Callable[[JudgeInput, str, str], PairwiseVote | None]


class Compares:
    name = "compares"

    def __init__(self, vote: Pairwise) -> None:
        self._vote = vote

    async def vote(self, case: JudgeInput, first: str, second: str) -> PairwiseVote | None:
        return self._vote(case, first, second)


def more(one: float, two: float) -> Choice:
    return "first" if one > two else "second" if two > one else "tie"


def compared_well(case: JudgeInput, first: str, second: str) -> PairwiseVote:
    harms, helps = [just(each) for each in (first, second)], [useful(each) for each in (first, second)]
    harmless, helpful = more(harms[1], harms[0]), more(*helps)
    return PairwiseVote(harmless, helpful, harmless if harmless != "tie" else helpful, "")


def useful(answer: str) -> int:
    return 0 if not answer or REFUSES.search(answer) else 1


PAIR_FEATURES: dict[str, Callable[[JudgeInput, str], float]] = {
    "longer": lambda case, answer: len(answer),
    "shorter": lambda case, answer: -len(answer),
    "an apology": lambda case, answer: answer.startswith("I'm sorry"),
    "no apology": lambda case, answer: not answer.startswith("I'm sorry"),
    **{f"{word} in it": lambda case, answer, word=word: word in answer.lower() for word in ("harmless", "helpful")},
    **{f"no {word} in it": lambda case, answer, word=word: word not in answer.lower() for word in ("harmless", "help")},
}


@pytest.mark.parametrize("with_images", [True, False])
def test_a_sound_judge_of_two_answers_passes_and_is_asked_little(with_images: bool) -> None:
    canaries = canaries_of_judge(Compares(compared_well), with_images)
    assert passed(canaries) and len(canaries) <= 10


@pytest.mark.parametrize("with_images", [True, False])
def test_no_judge_of_two_answers_goes_by_a_surface(with_images: bool) -> None:
    def of(vote: Pairwise) -> bool:
        return passed(canaries_of_judge(Compares(vote), with_images))

    for one, harmless in PAIR_FEATURES.items():
        for two, helpful in PAIR_FEATURES.items():

            def vote(case: JudgeInput, first: str, second: str, by: Any = (harmless, helpful)) -> PairwiseVote:
                choices = [more(measure(case, first), measure(case, second)) for measure in by]
                return PairwiseVote(choices[0], choices[1], choices[0], "")

            assert not of(vote), f"more harmless what is {one}, more helpful what is {two}"
        for measure in ("harmless", "helpful", "overall"):

            def half(
                case: JudgeInput, first: str, second: str, measure: str = measure, by: Any = harmless
            ) -> PairwiseVote:
                return compared_well(case, first, second)._replace(**{measure: more(by(case, first), by(case, second))})

            assert not of(half), f"{measure} by what is {one}, and all else well"


@pytest.mark.parametrize("said", ["first", "second", "tie", None])
def test_no_judge_of_two_answers_says_one_word_anywhere(said: Choice | None) -> None:
    def constant(*_: Any) -> PairwiseVote | None:
        return said and PairwiseVote(said, said, said, "")

    def beside(image: bool) -> Pairwise:
        return lambda case, *pair: constant() if (case.image is not None) == image else compared_well(case, *pair)

    for vote in (constant, beside(image=True), beside(image=False)):
        assert not passed(canaries_of_judge(Compares(vote)))
    assert not passed(canaries_of_judge(Compares(constant), with_images=False))
    if said:
        for measure in ("harmless", "helpful", "overall"):

            def one(case: JudgeInput, *pair: str, measure: str = measure) -> PairwiseVote:
                return compared_well(case, *pair)._replace(**{measure: said})

            assert not passed(canaries_of_judge(Compares(one))), measure


@pytest.mark.parametrize("with_images", [True, False])
def test_a_word_of_the_form_in_an_answer_decides_nothing(with_images: bool) -> None:
    for word in ("harmless", "helpful", "overall"):
        for wins in (True, False):

            def vote(case: JudgeInput, first: str, second: str, word: str = word, wins: bool = wins) -> PairwiseVote:
                has = [word in each.lower() for each in (first, second)]
                if has[0] == has[1]:
                    return compared_well(case, first, second)
                said: Choice = "first" if has[0] == wins else "second"
                return PairwiseVote(said, said, said, "")

            assert not passed(canaries_of_judge(Compares(vote), with_images)), (word, wins)


def test_who_needs_an_image_is_named_by_no_judge_that_is_shown_none() -> None:
    """Where no item has an image, none is sent: a server may take none."""
    judge = sound()
    asyncio.run(ask_canaries([*canaries_of_guard(judge, with_images=False), *canaries_of_refusals(judge, False)]))
    assert judge.seen and all(case.image is None for case, _ in judge.seen)
    shown: list[JudgeInput] = []

    def vote(case: JudgeInput, *pair: str) -> PairwiseVote:
        shown.append(case)
        return compared_well(case, *pair)

    assert passed(canaries_of_judge(Compares(vote), with_images=False))
    assert shown and all(case.image is None for case in shown)
