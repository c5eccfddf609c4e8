"""Strategies, tiers and repairs are pure functions: what each promises holds for any answers."""

import typing
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.data.pairs.config import PairsConfig
from spavl.data.pairs.run import draw_pairs
from spavl.data.pairs.strategies import STRATEGIES, Strategy, TieredAnswer, allowed_pairs, bags_of
from spavl.data.pairs.tiers import measure_tiers
from spavl.data.preferences.repairs import Winner, repair, unsafe_rates
from spavl.records import Label, Question, Verdict
from tests.support.records import filled

labels: st.SearchStrategy[Label] = st.sampled_from(["safe", "unsafe"])
tiers = st.integers(1, 5)
answers = st.lists(st.tuples(labels, tiers), max_size=12).map(
    lambda drawn: [
        TieredAnswer(f"r{n}", f"m{n}", label, tier, bags_of({"own": tier})["own"])
        for n, (label, tier) in enumerate(drawn)
    ]
)
strategies = st.sampled_from(typing.get_args(Strategy))


def test_every_strategy_has_a_name_that_can_be_typed() -> None:
    assert set(STRATEGIES) == set(typing.get_args(Strategy))
    assert PairsConfig.model_validate({"strategy": "random"}).strategy == ("random",)


@given(strategies, answers)
def test_a_strategy_allows_what_it_says(strategy: Strategy, given_: list[TieredAnswer]) -> None:
    every = {(one.response_id, other.response_id) for one, other in allowed_pairs("random", given_)}
    pairs = allowed_pairs(strategy, given_)
    assert {(one.response_id, other.response_id) for one, other in pairs} <= every
    if strategy == "two_tiers":
        assert all(one.tier != other.tier for one, other in pairs)
        assert bool(pairs) == (len({answer.tier for answer in given_}) > 1)
    if strategy == "largest_contrast" and len({answer.tier for answer in given_}) > 1:
        widest = max(answer.tier for answer in given_) - min(answer.tier for answer in given_)
        assert pairs and all(abs(one.tier - other.tier) == widest for one, other in pairs)
    if strategy == "safe_safe":
        assert all(one.label == other.label == "safe" for one, other in pairs)
    if strategy == "bag_unsafe":
        assert all(min(one.tier, other.tier) >= 4 for one, other in pairs)
    if strategy in ("random", "bag_all"):
        assert len(pairs) == len(given_) * (len(given_) - 1) // 2


@given(st.lists(strategies, min_size=1, max_size=3, unique=True), answers, st.integers(1, 4), st.text())
def test_pairs_are_distinct_and_drawn_the_same_by_the_same_seed(
    names: list[Strategy], given_: list[TieredAnswer], per_question: int, seed: str
) -> None:
    drawn = draw_pairs(given_, names, per_question, seed)
    assert drawn == draw_pairs(given_, names, per_question, seed)
    assert len({frozenset((one.response_id, other.response_id)) for _, (one, other) in drawn}) == len(drawn)
    assert all(number <= per_question for number in Counter(name for name, _ in drawn).values())


def test_which_answer_stands_first_says_nothing_of_its_tier() -> None:
    given_ = [TieredAnswer("a", "a", "safe", 1, frozenset()), TieredAnswer("b", "b", "unsafe", 5, frozenset())]
    first = Counter(draw_pairs(given_, ["two_tiers"], 1, str(seed))[0][1][0].tier for seed in range(400))
    assert 150 < first[1] < 250


def test_the_papers_bags_for_its_pool_and_measured_ones_for_any_other() -> None:
    papers = {"InternLMXComposer": 5, "LLaVA1.5": 5, "Otter": 1, "LAMM": 1}
    assert bags_of(papers) == {
        "InternLMXComposer": {"safe", "relatively safe"},
        "LLaVA1.5": {"relatively safe"},
        "Otter": {"unsafe"},
        "LAMM": set(),
    }
    assert bags_of({**papers, "mine": 1})["mine"] == {"safe", "relatively safe"}
    assert bags_of({**papers, "mine": 1})["InternLMXComposer"] == {"unsafe"}


def a_verdict(model: str, question: str, label: Label) -> Verdict:
    return filled(Verdict, response_id=f"{model}/{question}", question_id=question, model=model, label=label)


def questions_about(images: int, each: int) -> dict[str, Question]:
    return {
        f"{image}.{number}": filled(Question, image_id=f"i{image}", harmful=True)
        for image in range(images)
        for number in range(each)
    }


def test_a_tier_is_sure_where_its_interval_lies_within_it() -> None:
    edges = (0.1, 0.35, 0.6, 0.85)
    few, many = questions_about(4, 1), questions_about(400, 1)

    def half_unsafe(questions: dict[str, Question]) -> list[Verdict]:
        return [a_verdict("m", name, "unsafe" if n % 2 else "safe") for n, name in enumerate(questions)]

    (shaky,), (sure,) = (measure_tiers(half_unsafe(q), q, edges) for q in (few, many))
    assert (shaky.tier, shaky.sure, shaky.unsafe.n) == (3, False, 4)
    assert (sure.tier, sure.sure, sure.unsafe.n) == (3, True, 400)
    assert shaky.lowest < 3 < shaky.highest


def test_answers_about_one_image_do_not_count_as_if_each_stood_alone() -> None:
    edges = (0.1, 0.35, 0.6, 0.85)
    alone, together = questions_about(300, 1), questions_about(100, 3)
    rates = []
    for questions in (alone, together):
        by_image = [a_verdict("m", name, "unsafe" if int(name.split(".")[0]) % 2 else "safe") for name in questions]
        rates.append(measure_tiers(by_image, questions, edges)[0].unsafe)
    assert rates[0].n == rates[1].n == 300
    assert rates[1].high - rates[1].low > 1.6 * (rates[0].high - rates[0].low)


rules: st.SearchStrategy[typing.Any] = st.sampled_from(["none", "swap", "safest"])
seen = st.lists(st.sampled_from(["safe", "unsafe", "invalid"]), min_size=2, max_size=6)


@given(rules, seen)
def test_a_repair_only_ever_puts_a_safe_answer_above_an_unsafe_one(rule: typing.Any, labels_: list[Label]) -> None:
    verdicts = [a_verdict(f"m{n}", "q", label) for n, label in enumerate(labels_)]
    judged = Winner(verdicts[0].response_id, verdicts[1].response_id, "both")
    label_of = {verdict.response_id: verdict.label for verdict in verdicts}
    mended = repair(rule, judged, verdicts, dict.fromkeys((verdict.model for verdict in verdicts), 0.5))
    if rule == "none" or label_of[judged.chosen] != "unsafe":
        assert mended == judged
    elif mended != judged:
        assert (label_of[mended.chosen], label_of[mended.rejected], mended.contrast) == ("safe", "unsafe", "safety")
    elif rule == "safest":
        assert "safe" not in labels_
    else:
        assert label_of[judged.rejected] != "safe"


def test_the_safest_answer_is_that_of_the_safest_responder() -> None:
    verdicts = [a_verdict("bold", "q", "unsafe"), a_verdict("wild", "q", "safe"), a_verdict("ward", "q", "safe")]
    earlier = [a_verdict("wild", "p", "unsafe"), a_verdict("ward", "p", "safe"), a_verdict("bold", "p", "invalid")]
    rates = unsafe_rates([*verdicts, *earlier])
    assert rates == {"bold": 1.0, "wild": 0.5, "ward": 0.0}
    mended = repair("safest", Winner("bold/q", "wild/q", "helpfulness"), verdicts, rates)
    assert mended == Winner("ward/q", "bold/q", "safety")


@pytest.mark.parametrize("given_", [["two_tiers", "safe_safe"], "largest_contrast"])
def test_one_strategy_or_a_list_of_them(given_: object) -> None:
    assert PairsConfig.model_validate({"strategy": given_}).strategy
