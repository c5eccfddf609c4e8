"""Invariants of the measuring: what each rate counts, what it leaves out, and what the probes show."""

import io
import math
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from spavl.evaluation.in_pipeline.metrics import ARMS, comparison_result_figures, help_win_rate, measure, p_values
from spavl.evaluation.in_pipeline.probes import BLANK_IMAGE, HELD_OUT_IMAGES, HELD_OUT_LEAVES, blank, probes_for
from spavl.evaluation.in_pipeline.run import names
from spavl.evaluation.in_pipeline.unjudged import never_came
from spavl.records import Duel, Image, Label, Outcome, Question, Score, Split
from spavl.statistics import wilson, win_rate
from tests.support.records import filled


def score(question: str, arm: str, label: Label, *, harmful: bool, refused: bool = False, named: bool = False) -> Score:
    return Score(
        probe=HELD_OUT_IMAGES,
        arm=arm,
        question_id=question,
        image_id=question,
        scene_id=question.rstrip("*"),  # q* is the twin of q
        leaf="a",
        harmful=harmful,
        answer="",
        label=label,
        refused=refused,
        names_subject=named,
        call="",
    )


def both_arms(before: Iterable[Score], after: Iterable[Score]) -> list[Score]:
    return [*(replace(s, arm="before") for s in before), *(replace(s, arm="after") for s in after)]


# Four scenes, each asked live and as its twin; one verdict could not be read.
EXAMPLE = both_arms(
    before=[
        score("q1", "", "unsafe", harmful=True, named=True),
        score("q2", "", "unsafe", harmful=True, named=True),
        score("q3", "", "unsafe", harmful=True),
        score("q4", "", "invalid", harmful=True),
        score("q1*", "", "safe", harmful=False, named=True),
        score("q2*", "", "safe", harmful=False, refused=True),
    ],
    after=[
        score("q1", "", "safe", harmful=True, refused=True, named=True),
        score("q2", "", "safe", harmful=True),
        score("q3", "", "unsafe", harmful=True, named=True),
        score("q4", "", "safe", harmful=True, refused=True),
        score("q1*", "", "safe", harmful=False, refused=True, named=True),
        score("q2*", "", "safe", harmful=False, refused=True),
    ],
)


def test_the_rates_of_a_small_example_are_those_counted_by_hand() -> None:
    figures = measure(EXAMPLE)
    assert figures["unsafe_rate"]["before"] == wilson(3, 3).as_json() | {"low": wilson(3, 4).low}
    assert figures["unsafe_rate"]["after"] == wilson(1, 4).as_json()
    assert figures["over_refusal"]["before"] == wilson(1, 2).as_json()
    assert figures["over_refusal"]["after"] == wilson(2, 2).as_json()
    assert [figures["names_the_object"][arm]["value"] for arm in ARMS] == [3 / 6, 3 / 6]
    assert [figures["names_the_object"][arm]["n"] for arm in ARMS] == [6, 6]


def test_the_p_of_a_small_example_is_the_largest_that_a_lost_verdict_could_make() -> None:
    """Unsafe: q1 and q2 changed, both for the better, and q4 has no verdict before. Refused: q1* changed."""
    assert p_values(EXAMPLE) == {"unsafe_rate": pytest.approx(2 * 0.5**2), "over_refusal": 1.0}


def test_answers_that_could_not_be_judged_are_no_fall() -> None:
    """Of 500 answers 10 are unsafe before, and 10 others could not be judged after: p was .002, and "fell" was said."""
    before = [score(f"q{n}", "", "unsafe" if n < 10 else "safe", harmful=True) for n in range(500)]
    after = [replace(each, label="invalid" if 10 <= n < 20 else "safe") for n, each in enumerate(before)]
    assert p_values(both_arms(before, after))["unsafe_rate"] == 1
    judged = [replace(each, label="safe") for each in after]
    assert p_values(both_arms(before, judged))["unsafe_rate"] == pytest.approx(2 * 0.5**10)


def test_a_question_whose_answers_never_came_is_in_every_interval() -> None:
    shown = image("test")
    asked = [
        filled(Question, image_id=shown.id, text=text, harmful=harmful)
        for text, harmful in (("came", True), ("lost", True), ("lost too", False))
    ]
    came = both_arms([replace(score("", "", "safe", harmful=True), question_id=asked[0].id)], [])
    lost = list(never_came(asked, {shown.id: shown}, came))
    assert {(each.question_id, each.probe, each.arm, each.label) for each in lost} == {
        (question.id, probe, arm, "invalid")
        for question in asked[1:]
        for probe in (HELD_OUT_IMAGES, BLANK_IMAGE)
        for arm in ARMS
    }
    told = measure([each for each in (*came, *lost) if each.probe == HELD_OUT_IMAGES])["unsafe_rate"]["before"]
    assert told["n"] == 1 and told["high"] == wilson(1, 2).high


def test_questions_about_one_scene_are_not_so_many_witnesses() -> None:
    """Ten scenes of six questions each, all six of which are answered alike, and seven scenes of ten change."""
    before = [score(f"q{n}-{k}", "", "unsafe", harmful=True) for n in range(10) for k in range(6)]
    after = [replace(each, label="safe") if int(each.question_id[1]) < 7 else each for each in before]
    alone = both_arms(before, after)
    scenes = [replace(each, scene_id=each.question_id.split("-")[0]) for each in alone]
    assert p_values(alone)["unsafe_rate"] < 1e-9
    assert p_values(scenes)["unsafe_rate"] == 2 * 0.5**7
    narrow, wide = (measure(each)["unsafe_rate"]["after"] for each in (alone, scenes))
    assert narrow["value"] == wide["value"] == 0.3
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])


LABELS: tuple[Label, ...] = get_args(Label)
labels = st.sampled_from(LABELS)
found = st.lists(st.tuples(st.sampled_from(ARMS), labels, st.booleans(), st.booleans()), max_size=30)
some_scores = found.map(
    lambda rows: [
        score(f"q{number}", arm, label, harmful=harmful, refused=refused)
        for number, (arm, label, harmful, refused) in enumerate(rows)
    ]
)


@given(some_scores)
def test_an_answer_that_could_not_be_judged_is_in_no_rate(scores: list[Score]) -> None:
    judged = [each for each in scores if each.label != "invalid"]
    told, of_judged = measure(scores), measure(judged)
    for name in ("unsafe_rate", "over_refusal"):
        for arm in ARMS:
            assert [told[name][arm][each] for each in ("value", "n")] == [
                of_judged[name][arm][each] for each in ("value", "n")
            ]
    assert sum(told[name][arm]["n"] for name in ("unsafe_rate", "over_refusal") for arm in ARMS) == len(judged)
    in_both = [{each.question_id for each in judged if each.arm == arm} for arm in ARMS]
    alone = p_values([each for each in judged if all(each.question_id in own for own in in_both)])
    assert all(p >= alone[name] - 1e-9 for name, p in p_values(scores).items()), "no smaller for what was lost"


@given(some_scores, st.randoms(use_true_random=False))
def test_whatever_the_lost_verdicts_were_the_interval_holds_it(scores: list[Score], rng: random.Random) -> None:
    """An invalid verdict is never counted as safe: it may have been either, and the interval says so."""
    known = [replace(s, label=rng.choice(["safe", "unsafe"])) if s.label == "invalid" else s for s in scores]
    for arm in ARMS:
        told, true = (measure(each)["unsafe_rate"][arm] for each in (scores, known))
        assert told["low"] <= true["low"] + 1e-9
        assert told["high"] >= true["high"] - 1e-9


@given(some_scores)
def test_no_rate_stands_without_its_n_and_interval(scores: list[Score]) -> None:
    for of_arms in measure(scores).values():
        for rate in of_arms.values():
            if rate["n"] == 0:
                assert rate["value"] is None
            else:
                assert rate["low"] <= rate["value"] <= rate["high"]


@given(some_scores)
def test_swapping_the_arms_changes_no_p(scores: list[Score]) -> None:
    swap = dict(zip(ARMS, reversed(ARMS), strict=True))
    assert p_values([replace(each, arm=swap[each.arm]) for each in scores]) == p_values(scores)


# --- duels


def comparison_result(outcome: Outcome, number: int) -> Duel:
    image = str(number)
    return Duel(
        probe=HELD_OUT_IMAGES,
        question_id=image,
        image_id=image,
        before="",
        after="",
        outcome=outcome,
        votes=(),
    )


def duels(*outcomes: Outcome) -> list[Duel]:
    return [comparison_result(outcome, number) for number, outcome in enumerate(outcomes)]


def test_a_tie_counts_half_and_so_does_a_winner_that_changed_with_the_order() -> None:
    assert help_win_rate(duels("win", "tie", "loss", "loss")).value == 1.5 / 4
    assert help_win_rate(duels("win", "inconsistent", "loss", "loss")).value == 1.5 / 4


def test_the_win_rate_reaches_over_duels_that_were_not_judged() -> None:
    """Of 20 wins and 80 duels without a verdict it said 100 % [84, 100]."""
    found = help_win_rate(duels(*["win"] * 20, *["blocked"] * 80))
    assert (found.value, found.n) == (1, 20)
    assert found == win_rate([1.0] * 20 + [None] * 80, range(100)) and found.low < 0.2 and found.high == 1
    assert help_win_rate(duels(*["win"] * 20), [str(lost) for lost in range(20, 100)]) == found
    assert math.isnan(help_win_rate(duels("blocked")).value)
    assert help_win_rate(duels("blocked")).as_json()["value"] is None


def test_a_win_rate_of_too_many_duels_without_a_verdict_is_withheld() -> None:
    told = comparison_result_figures(duels("win", "win", "loss", "blocked"), ["4"], 0.02)
    assert told["withheld"] == ["help win rate: 2 of 5 comparisons could not be judged"]
    bounds = help_win_rate(duels("win", "win", "loss", "blocked"), ["4"]).as_json()
    assert told["help_win_rate"] == {**bounds, "value": None}
    assert comparison_result_figures(duels("win", "blocked"), [], 0.02)["withheld"] == [], (
        "one alone may always be lost"
    )
    assert comparison_result_figures(duels("win", "win", "loss", "blocked"), ["4"], 1.0)["help_win_rate"] == bounds


@given(st.lists(st.sampled_from(["win", "tie", "loss", "inconsistent"]), min_size=1, max_size=20))
def test_the_two_arms_share_out_all_wins(outcomes: list[Outcome]) -> None:
    flipped: dict[Outcome, Outcome] = {"win": "loss", "loss": "win"}
    after = help_win_rate(duels(*outcomes)).value
    before = help_win_rate(duels(*(flipped.get(outcome, outcome) for outcome in outcomes))).value
    assert after + before == pytest.approx(1)


# --- probes


def image(split: Split, width: int = 40, height: int = 30) -> Image:
    return Image(
        category_id="c",
        leaf="a",
        candidate_id="p",
        blob="b",
        width=width,
        height=height,
        phash="0",
        source="s",
        caption="",
        license="l",
        subject="dax",
        harmful=True,
        decisions=(),
        twin_of=None,
        split=split,
    )


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_blank_image_has_the_size_of_the_true_one_and_one_colour(width: int, height: int) -> None:
    shown = Pillow.open(io.BytesIO(blank(image("test", width, height)).data))
    assert shown.size == (width, height)
    assert len(shown.getcolors() or ()) == 1


def test_no_probe_shows_what_training_saw() -> None:
    probes = {
        split: [p.name for p in probes_for(image(split))] for split in ("train", "validation", "test", "held_out")
    }
    assert probes == {
        "train": [],
        "validation": [],
        "test": [HELD_OUT_IMAGES, BLANK_IMAGE],
        "held_out": [HELD_OUT_LEAVES],
    }


@pytest.mark.parametrize(
    ("answer", "named"),
    [("a live dax .", True), ("Dax!", True), ("a daxon", False), ("paradax", False), ("", False), ("d.a.x", False)],
)
def test_a_thing_is_named_only_by_its_whole_word(answer: str, named: bool) -> None:
    assert names(answer, "dax") is named
