"""Gold answers: a judge that has changed is found out, and one that has not is left alone."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.errors import ConfigError
from spavl.judges.gold_answers import (
    GoldAnswer,
    against,
    agreement,
    digest_of,
    drift,
    judge_gold_answers,
    read_gold_answers,
)
from spavl.judges.guards.keyword import LISTS, KeywordGuard
from spavl.judges.guards.miniature_rules import RuleGuard
from spavl.judges.types import JudgeInput
from spavl.models.types import ImageData
from spavl.records import Label
from spavl.statistics import Confusion
from spavl.store.typed_json import to_json

MINIATURE = read_gold_answers("miniature")
TRUTH: list[Label] = [anchor.label for anchor in MINIATURE]


def wrong(labels: list[Label], places: range) -> list[Label]:
    return [
        ("safe" if label == "unsafe" else "unsafe") if place in places else label for place, label in enumerate(labels)
    ]


def test_the_miniatures_rules_agree_with_how_its_anchors_were_made() -> None:
    said = asyncio.run(judge_gold_answers(RuleGuard(), MINIATURE))
    assert said == TRUTH
    assert len(MINIATURE) >= 100
    assert {anchor.label for anchor in MINIATURE} == {"safe", "unsafe"}
    assert len({anchor.answer for anchor in MINIATURE}) > 50
    assert read_gold_answers("miniature") == MINIATURE, "made by code, and the same each time"


def test_a_judge_that_says_the_same_has_not_moved() -> None:
    found = drift(TRUTH, TRUTH, TRUTH)
    assert not found.moved
    assert found.judged_otherwise == ()
    assert found.before == found.now
    json.dumps(to_json(found), allow_nan=False)


@pytest.mark.parametrize(("changed", "moved"), [(1, False), (3, False), (6, True), (30, True)])
def test_an_alarm_is_raised_when_more_change_than_chance_would(changed: int, moved: bool) -> None:
    found = drift(TRUTH, TRUTH, wrong(TRUTH, range(changed)))
    assert found.moved == moved
    assert found.judged_otherwise == tuple(range(changed))
    assert drift(TRUTH, wrong(TRUTH, range(changed)), TRUTH).moved == moved, "better is moved as well as worse"


def test_as_many_gained_as_lost_is_told_and_is_no_drift_of_the_agreement() -> None:
    found = drift(TRUTH, wrong(TRUTH, range(10)), wrong(TRUTH, range(50, 60)))
    assert not found.moved
    assert len(found.judged_otherwise) == 20


def test_a_judge_that_falls_silent_has_moved_and_has_not_said_safe() -> None:
    silent: list[Label] = ["invalid"] * len(MINIATURE)
    found = drift(TRUTH, TRUTH, silent)
    assert found.moved
    assert (found.now.n, found.now.low) == (0, 0) and found.now.high == 1
    assert against(silent, TRUTH) == Confusion(0, 0, 0, 0, unknown=len(MINIATURE))


def test_other_anchors_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match="judged 107 and 108 times"):
        drift(TRUTH, TRUTH[1:], TRUTH)


def test_keywords_are_shown_against_a_judge_and_a_judge_against_the_truth() -> None:
    judge = asyncio.run(judge_gold_answers(RuleGuard(), MINIATURE))
    truth = against(judge, TRUTH)
    assert (truth.sensitivity.value, truth.specificity.value) == (1, 1)
    assert truth.sensitivity.low > 0.85 and truth.specificity.low > 0.95
    for name in LISTS:
        table = against(asyncio.run(judge_gold_answers(KeywordGuard(name), MINIATURE)), judge)
        assert table.sensitivity.value == 1, "nothing unsafe is put like a refusal here"
        assert table.specificity.high < 0.6, "most that is safe is not put like one either"


@given(st.lists(st.tuples(*[st.sampled_from(["safe", "unsafe", "invalid"])] * 2), max_size=30))
def test_a_confusion_loses_nothing_and_takes_no_silence_for_a_verdict(pairs: list[tuple[Label, Label]]) -> None:
    table = against([one for one, _ in pairs], [other for _, other in pairs])
    assert sum(table) == len(pairs)
    assert table.unknown == sum("invalid" in pair for pair in pairs)
    assert table.both == pairs.count(("unsafe", "unsafe"))


# --- files


def test_a_file_of_anchors_is_read_with_its_images(tmp_path: Path, image: ImageData) -> None:
    (tmp_path / "one.png").write_bytes(image.data)
    rows = [
        {"question": "q", "answer": "a", "label": "unsafe", "image": "one.png", "context": "a wall"},
        {"question": "p", "answer": "b", "label": "safe"},
    ]
    file = tmp_path / "anchors.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert read_gold_answers(str(file)) == [
        GoldAnswer(JudgeInput(image, "q", None, True, "a wall"), "a", "unsafe"),
        GoldAnswer(JudgeInput(None, "p", None, False), "b", "safe"),
    ]


def test_anchors_are_others_when_anything_is_that_a_judge_is_told_or_shown(image: ImageData) -> None:
    anchor = GoldAnswer(JudgeInput(image, "q", None, True, "a wall"), "a", "unsafe")
    others = [
        anchor._replace(case=replace(anchor.case, **{name: value}))
        for name, value in (("image", None), ("question", "p"), ("context", ""))
    ]
    others += [anchor._replace(answer="b"), anchor._replace(label="safe")]
    assert len({digest_of([each]) for each in (anchor, *others)}) == 6


@pytest.mark.parametrize(
    ("line", "tells"),
    [
        ("{", "no JSON"),
        ('{"question": "q", "answer": "a"}', "other fields"),
        ('{"question": "q", "answer": "a", "label": "safe", "extra": "x"}', "other fields"),
        ('{"question": "q", "answer": "a", "label": "harmless"}', "`safe` or `unsafe`"),
        ('{"question": "q", "answer": 3, "label": "safe"}', "`safe` or `unsafe`"),
        ('{"question": "q", "answer": "a", "label": "safe", "image": "gone.png"}', "no image"),
        ("", "empty"),
    ],
)
def test_a_faulty_file_is_told_with_its_line(tmp_path: Path, line: str, tells: str) -> None:
    file = tmp_path / "anchors.jsonl"
    file.write_text(line)
    with pytest.raises(ConfigError, match=tells) as told:
        read_gold_answers(str(file))
    assert str(file) in told.value.where and told.value.then


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_gold_answers("nowhere.jsonl")


@settings(max_examples=20)
@given(st.integers(0, 20), st.integers(0, 20))
def test_agreement_reaches_over_what_was_not_said(errors: int, silent: int) -> None:
    said = wrong(TRUTH, range(errors))
    said[50 : 50 + silent] = ["invalid"] * silent
    found = agreement(said, TRUTH)
    for turned_out in (0, silent):
        assert found.low <= (len(TRUTH) - errors - silent + turned_out) / len(TRUTH) <= found.high
