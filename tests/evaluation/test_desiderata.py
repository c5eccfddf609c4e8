"""ChEF's desiderata, on tables made by hand and in an evaluation."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from spavl.evaluation.benchmarks.ability.instructions import asked_with
from spavl.evaluation.metrics.desiderata import DesideratumMetric, desiderata_of
from spavl.evaluation.metrics.result_table import ResultCell, ResultTable
from spavl.evaluation.records import Answer, Item
from tests.support.benchmark_files import put_parquet
from tests.support.evaluations import evaluate, png, said
from tests.support.records import filled
from tests.support.servers import ChatServer

ASKED = asked_with("Which?", ["one", "two", "three", "four"])


def result_table(
    columns: dict[tuple[str, str], Sequence[Sequence[float | None]]],
) -> tuple[ResultTable, list[ResultCell]]:
    """A model's values by benchmark and condition, an item for each."""
    items, asked, values, cells = {}, {}, {}, []
    for (benchmark, condition), values_of in columns.items():
        own = [
            filled(
                Item,
                benchmark=benchmark,
                key=str(n),
                question=ASKED,
                wants="answer",
                references=("A",),
                cluster=f"c{n}",
            )
            for n in range(len(values_of))
        ]
        cell = ResultCell("me", condition, benchmark, "match/choice", "right")
        items |= {item.id: item for item in own}
        asked["me", condition, benchmark] = {item.id: len(said) for item, said in zip(own, values_of, strict=True)}
        values[cell] = {item.id: list(said) for item, said in zip(own, values_of, strict=True)}
        cells.append(cell)
    return ResultTable(items, asked, values, lambda judge, item: True), cells


def by_name(
    made: tuple[ResultTable, list[ResultCell]], answers: Sequence[Answer] = ()
) -> dict[tuple[str, str], DesideratumMetric]:
    return {(told.name, told.under): told for told in desiderata_of(*made, answers)}


def test_examples_are_measured_against_none_above_chance() -> None:
    """2 of 4 right without and 3 of 4 with, where chance gives a quarter."""
    made = result_table(
        {("scienceqa", "real"): [[1], [1], [0], [0]], ("scienceqa+examples", "real"): [[1], [1], [1], [0]]}
    )
    told = by_name(made)["in-context learning", "scienceqa+examples"]
    assert (told.value.value, told.value.n) == (pytest.approx(0.25 / 0.25), 4)
    assert told.value.low < 0 and told.value.high == math.inf, "four items tell next to nothing"


def test_a_condition_is_measured_over_the_items_that_were_asked_under_it() -> None:
    made = result_table({("scienceqa", "real"): [[1], [1], [0], [0]], ("scienceqa", "first_word"): [[1], [0]]})
    told = by_name(made)["robustness", "first_word"]
    assert (told.value.value, told.value.n) == (pytest.approx((0.5 - 0.25) / (1 - 0.25)), 2)


def test_an_answer_that_never_came_is_not_wrong() -> None:
    """All are right, and under noise 40 of 100 never came: it was 0.2 [0, 0.4]."""
    right: list[list[float | None]] = [[1]] * 100
    made = result_table({("scienceqa", "real"): right, ("scienceqa", "noise"): [[None]] * 40 + right[40:]})
    told = by_name(made)["robustness", "noise"].value
    assert (told.value, told.n) == (1, 60) and told.low < 0.47 < 1 <= told.high
    nothing = result_table({("scienceqa", "real"): right, ("scienceqa", "noise"): [[None]] * 100})
    told = by_name(nothing)["robustness", "noise"].value
    assert math.isnan(told.value) and told.n == 0 and told.low < 0 < 1 <= told.high


def test_a_sample_that_never_came_makes_nobody_sure() -> None:
    made = result_table({("scienceqa", "real"): [[1, 1], [1, 1], [1, None], [1, 1]]})
    ids = made[0].asked["me", "real", "scienceqa"]
    answers = [
        filled(Answer, model="me", condition="real", item_id=item, sample=sample, text="A")
        for place, item in enumerate(ids)
        for sample in range(1 if place == 2 else 2)
    ]
    told = by_name(made, answers)["calibration error", ""].value
    assert (told.value, told.n) == (0, 3) and told.low == 0 and told.high > 1 / 4


def test_a_model_that_is_no_better_than_chance_has_no_robustness() -> None:
    made = result_table({("scienceqa", "real"): [[1], [0], [0], [0]], ("scienceqa", "blank"): [[1], [1], [0], [0]]})
    assert by_name(made)["robustness", "blank"].value.n == 4 and math.isnan(
        by_name(made)["robustness", "blank"].value.value
    )


def test_calibration_wants_several_samples() -> None:
    """Sure of a right option in all of four samples, and of a wrong one in half of them."""
    made = result_table({("scienceqa", "real"): [[1, 1, 1, 1], [0, 0, 1, 0]]})
    ids = made[0].asked["me", "real", "scienceqa"]
    texts = [("A", "A", "A", "(A)"), ("B", "B", "A", "perhaps")]
    answers = [
        filled(Answer, model="me", condition="real", item_id=item, sample=sample, text=text)
        for item, own in zip(ids, texts, strict=True)
        for sample, text in enumerate(own)
    ]
    told = by_name(made, answers)["calibration error", ""]
    assert (told.value.value, told.value.n) == (pytest.approx((0 + 0.5) / 2), 2)
    assert 0 <= told.value.low < told.value.value < told.value.high
    assert ("calibration error", "") not in by_name(result_table({("scienceqa", "real"): [[1], [0]]}))


def test_benchmarks_without_such_figures_have_none() -> None:
    assert not by_name(result_table({("vqav2", "real"): [[1], [0.3]]}))


def test_an_evaluation_tells_them_and_its_report_shows_them(tmp_path: Path) -> None:
    """A model that looks at what it is told first is right only where examples are."""
    rows = [
        {"question": f"Which {n}?", "choices": ["one", "two"], "answer": 0, "hint": "", "subject": "x", "image": png(n)}
        for n in range(4)
    ]
    put_parquet(tmp_path / "scienceqa/data/test-00000-of-00001.parquet", rows)
    with ChatServer(lambda body: "A" if said(body).count("Which") > 1 else "B") as server:
        uri = f"openai/m@{server.url}"
        suite = ("scienceqa", "scienceqa+examples")
        results = evaluate(
            tmp_path / "evaluation", models=(uri,), suite=suite, data=(str(tmp_path),), conditions="real,blank"
        )
    told = {(each.name, each.under): each.value.value for each in results.desiderata if each.model == "openai/m"}
    assert math.isnan(told["in-context learning", "scienceqa+examples"]), "it is no better than chance without examples"
    assert ("robustness", "blank") in told
    assert "in-context learning" in (tmp_path / "evaluation/report.html").read_text()
