"""Evaluations of what has a right answer, and of questions in other words."""

import json
from pathlib import Path
from typing import Any

import pytest

from spavl.errors import ConfigError
from spavl.evaluation.metrics.image_dependence import image_dependence_of
from spavl.statistics import wilson
from tests.evaluation.test_desiderata import result_table
from tests.support.evaluations import SAFE, evaluate, is_judging, png, rate_of, said, write_spa_vl
from tests.support.servers import Body, ChatServer, fault


def write_pope(folder: Path) -> Path:
    (folder / "val2014").mkdir(parents=True)
    rows = []
    for number in range(12):
        (folder / "val2014" / f"{number}.jpg").write_bytes(png(number))
        label = "yes" if number % 3 == 0 else "no"
        rows.append({"question_id": number, "image": f"{number}.jpg", "text": f"Is a {number} there?", "label": label})
    (folder / "coco_pope_random.json").write_text("\n".join(map(json.dumps, rows)))
    return folder


def nod(body: Body) -> str:
    return "Who knows." if "a 7 there" in said(body) else "Yes, there is."


def test_what_has_a_right_answer_needs_no_judge(tmp_path: Path) -> None:
    """Four of twelve are there; one answer says neither yes nor no, and is not right for it."""
    with ChatServer(nod) as server:
        results = evaluate(
            tmp_path / "evaluation",
            models=(f"one=openai/one@{server.url}",),
            suite=("pope",),
            data=(str(write_pope(tmp_path / "pope")),),
        )
        assert len(server.seen) == 12
    found = rate_of(results, "right", model="one", judge="match/yes_no")
    assert (found.micro.value, found.micro.n, found.unknown) == (4 / 12, 12, 0)
    assert rate_of(results, "unread", model="one").micro.value == 1 / 12
    told = {(each.judge, each.name): each.value for each in results.published if each.model == "one"}
    ours, theirs = (told[rule, "recall"] for rule in ("match/yes_no", "match/pope"))
    assert ours.value == theirs.value == 1 and ours.n == 4 and 0 < ours.low < ours.high == 1
    assert (told["match/yes_no", "unread"].value, told["match/pope", "unread"].value) == (1 / 12, 0)
    page = (tmp_path / "evaluation" / "report.html").read_text()
    assert "As the benchmarks are published" in page and "match/pope" in page


def test_answers_that_never_came_are_no_result_and_no_ability(tmp_path: Path) -> None:
    """The two that came are right; of the ten others nothing is known."""

    def speak(body: Body) -> Any:
        return "Yes." if any(f"a {number} there" in said(body) for number in (0, 3)) else fault(400, "too long")

    with ChatServer(speak) as server:
        settings: dict[str, Any] = {
            "models": (f"one=openai/one@{server.url}",),
            "suite": ("pope",),
            "data": (str(write_pope(tmp_path / "pope")),),
        }
        withheld = evaluate(tmp_path / "evaluation", **settings).withheld
        assert {each.why for each in withheld} == {"10 of 12 answers never came"}
        results = evaluate(tmp_path / "evaluation", **settings, max_invalid=1.0)
    found = rate_of(results, "right", model="one")
    assert (found.micro.value, found.micro.n, found.unknown) == (1, 2, 10)
    assert found.micro.low < 0.1


def test_an_answer_that_never_came_is_not_wrong_in_published_figures_either(tmp_path: Path) -> None:
    """One of twelve never came, the others are right. POPE's accuracy was 11 of 12, and could be no more."""

    def speak(body: Body) -> Any:
        number = int(said(body).split("Is a ")[1].split(" ")[0])
        return fault(400, "too long") if number == 6 else "Yes" if number % 3 == 0 else "No"

    with ChatServer(speak) as server:
        data = (str(write_pope(tmp_path / "pope")),)
        results = evaluate(
            tmp_path / "evaluation", models=(f"one=openai/one@{server.url}",), suite=("pope",), data=data
        )
    told = {each.name: each.value for each in results.published if each.judge == "match/yes_no"}
    assert (told["accuracy"].value, told["accuracy"].n, told["accuracy"].high) == (1, 11, 1)
    assert told["accuracy"].low == wilson(11, 12).low
    assert (told["recall"].value, told["recall"].n) == (1, 3) and told["recall"].low == wilson(3, 4).low
    assert (told["yes_ratio"].low, told["yes_ratio"].high) == (wilson(3, 12).low, wilson(4, 12).high)
    assert told["unread"].value == 0 and told["unread"].high == wilson(1, 12).high


def test_items_of_which_an_answer_never_came_may_be_answered_alike_or_not() -> None:
    """With a grey image 40 of 100 never come; the others are right with either. It said 100 % [94, 100] alike."""
    made, _ = result_table({("pope", "real"): [[1]] * 100, ("pope", "blank"): [[None]] * 40 + [[1]] * 60})
    (told,) = image_dependence_of(made, {"pope": {"right": "match/choice"}})
    assert (told.alike.value, told.alike.n, len(told.keys)) == (1, 60, 60)
    assert told.alike.low == wilson(60, 100).low and told.alike.high == 1
    made, _ = result_table(
        {("pope", "real"): [[1]] * 3 + [[0]] * 7, ("pope", "blank"): [[0]] * 3 + [[None]] * 2 + [[0]] * 5}
    )
    (told,) = image_dependence_of(made, {"pope": {"right": "match/choice"}})
    assert (told.alike.value, told.on_others.value, told.on_others.n) == (5 / 8, 1, 3)
    assert told.on_others.low == wilson(3, 5).low, "the two that are not known may be answered otherwise, too"


def test_questions_are_asked_in_the_words_that_people_or_a_model_wrote(tmp_path: Path) -> None:
    data = write_spa_vl(tmp_path / "data", 3, 1)
    file = tmp_path / "words.jsonl"
    file.write_text(json.dumps({"question": "What is harm number 1?", "paraphrase": "Which harm has number 1?"}) + "\n")

    def speak(body: Body) -> str:
        if "in other words" in said(body):
            return "Said otherwise."
        return SAFE if is_judging(body) else "x"

    with ChatServer(speak) as server:
        settings = {
            "models": (f"one=openai/one@{server.url}",),
            "suite": ("harmeval",),
            "data": (str(data),),
            "guard": (f"openai/guard@{server.url}",),
            "conditions": ("real", "paraphrase"),
        }
        with pytest.raises(ConfigError, match="no source of paraphrases"):
            evaluate(tmp_path / "evaluation", **settings)
        by_people = evaluate(tmp_path / "evaluation", **settings, paraphrases=str(file), max_invalid=1.0)
        assert any("Which harm has number 1?" in said(body) for body in server.bodies.values())
        asked = rate_of(by_people, "unsafe", model="one", condition="paraphrase")
        assert (asked.micro.n, asked.unknown) == (1, 2)
        by_model = evaluate(tmp_path / "evaluation", **settings, paraphrases=f"openai/writer@{server.url}")
        told = [said(body).strip() for body in server.bodies.values() if body["model"] == "one"]
        assert "Said otherwise." in told
        assert rate_of(by_model, "unsafe", model="one", condition="paraphrase").micro.n == 3
