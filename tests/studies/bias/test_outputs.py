"""Rates by leaf and by twin are those of the evaluation, and what alignment did is paired by item."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from spavl.evaluation.metrics.result_table import Reported, result_table_of
from spavl.evaluation.records import Item, Judgement, PairwiseResult
from spavl.evaluation.results.file import read_results
from spavl.records import Outcome
from spavl.statistics import holm, wilson, win_p
from spavl.studies.bias.outputs import EvaluatedItems, OutputBias, TwinRates, output_bias, read_items
from spavl.studies.bias.tables import output_tables
from tests.evaluation.test_report import answer
from tests.support.evaluations import evaluate, write_spa_vl
from tests.support.records import filled
from tests.support.servers import ChatServer

GUARD = "guard"
REPORTED: Reported = {"run": {"unsafe": GUARD, "refusal": GUARD, "over_refusal": GUARD}}


def scenes(number: int) -> list[Item]:
    """Of each scene a harmful question about a harmful image, a harmless one about it, and one about its twin."""
    found = []
    for scene in range(number):
        for kind, blob, wants in (("bad", "live", "refuse"), ("near", "live", "help"), ("twin", "toy", "help")):
            found.append(
                filled(
                    Item,
                    benchmark="run",
                    key=f"{kind} {scene}",
                    question=f"{kind} {scene}",
                    blob=f"{blob} {scene}",
                    wants=wants,
                    group=f"leaf {scene % 3}",
                    cluster=f"scene {scene}",
                )
            )
    return found


def evaluated(items: list[Item], refuses: Mapping[str, set[str]], compared: Outcome | None = None) -> EvaluatedItems:
    """`refuses`: by model, the kinds of questions that it refuses. A harmful answer that is no refusal is unsafe."""
    judgements = []
    for model, kinds in refuses.items():
        for item in items:
            refused = item.key.split()[0] in kinds
            about = {"answer_id": f"{model} {item.key}", "item_id": item.id, "model": model, "condition": "real"}
            unsafe = item.wants == "refuse" and not refused
            for measure, value in (("unsafe", unsafe), ("refused", refused)):
                judgements.append(filled(Judgement, **about, judge=GUARD, measure=measure, value=float(value)))
    asked = {(model, "real", "run"): Counter(item.id for item in items) for model in refuses}
    table = result_table_of({item.id: item for item in items}, asked, judgements, lambda *_: True, {})
    comparisons = [
        filled(PairwiseResult, item_id=item.id, model="after", against="before", harmless="tie", helpful=compared)
        for item in items
        if compared
    ]
    return EvaluatedItems(table, REPORTED, comparisons)


def of(refuses: Mapping[str, set[str]], number: int = 30, compared: Outcome | None = None) -> OutputBias:
    items = evaluated(scenes(number), refuses, compared)
    return output_bias(items, "before", items, "after")


def twins_of(bias: OutputBias) -> dict[str, TwinRates]:
    return {each.model: each for each in bias.twins}


def test_a_model_that_refuses_by_the_look_of_an_image_is_told_from_one_that_sees() -> None:
    bias = of({"before": {"bad", "near", "twin"}, "after": {"bad", "near"}})
    blind, sees = twins_of(bias)["before"], twins_of(bias)["after"]
    assert blind.apart.value == 0 and blind.p == 1 and blind.over_refusal.value == 1
    assert sees.apart.value == 1 and sees.p < 1e-6 and sees.apart.low > 0.5
    # The harmless question about the harmful image is no twin.
    assert sees.over_refusal == wilson(0, 30) and sees.refusal == wilson(30, 30) and sees.clusters == 30
    assert sees.unsafe and sees.unsafe.value == 0


def test_what_changed_in_every_leaf_is_paired_and_corrected() -> None:
    bias = of({"before": set(), "after": {"bad"}})
    unsafe = [each for each in bias.changes if each.rate == ("run", "unsafe")]
    assert [each.leaf for each in unsafe] == ["leaf 0", "leaf 1", "leaf 2"]
    assert all(each.pair.difference.value == -1 and each.pair.difference.n == 10 for each in unsafe)
    assert [each.pair.p_holm for each in unsafe] == pytest.approx(holm([each.pair.p for each in unsafe]))
    rates = {(each.cell.model, each.cell.metric, each.leaf): each.rate for each in bias.rates}
    assert rates["before", "unsafe", "leaf 0"] == wilson(10, 10) and rates["after", "unsafe", "leaf 0"].value == 0


def test_the_other_way_round_is_the_mirror_image() -> None:
    items = evaluated(scenes(30), {"before": {"near"}, "after": {"bad", "twin"}})
    there, back = output_bias(items, "before", items, "after"), output_bias(items, "after", items, "before")
    for one, other in zip(there.changes, back.changes, strict=True):
        assert one.pair.difference.value == -other.pair.difference.value and one.pair.p_holm == other.pair.p_holm
    for one, other in zip(there.gaps, back.gaps, strict=True):
        assert one.base == other.aligned and one.wider.value == -other.wider.value
        assert (one.wider.low, one.wider.high) == pytest.approx((-other.wider.high, -other.wider.low))
    assert {each.model: each for each in there.twins} == twins_of(back)


def test_a_gap_that_alignment_leaves_in_one_leaf_is_found() -> None:
    items = scenes(90)
    one = evaluated(items, {"before": set(), "after": {"bad"}})
    values = dict(one.table.values)
    for cell, own in values.items():
        if cell.model == "after" and cell.metric == "unsafe":
            in_leaf = {item.id for item in items if item.group == "leaf 2"}
            values[cell] = {each: [1.0] if each in in_leaf else known for each, known in own.items()}
    changed = one._replace(table=one.table._replace(values=values))
    (gap,) = [each for each in output_bias(changed, "before", changed, "after").gaps if each.metric == "unsafe"]
    assert gap.base.gap.value == 0 and not gap.base.clearly_worse
    assert gap.aligned.clearly_worse == ("leaf 2",) and gap.aligned.gap.value == 1 and gap.wider.low > 0.5


def test_helpfulness_has_a_win_rate_in_each_leaf_that_was_compared() -> None:
    bias = of({"before": {"twin"}, "after": set()}, compared="win")
    assert [each.leaf for each in bias.helpful] == ["leaf 0", "leaf 1", "leaf 2"]
    # Harmful items have a harm score and no win rate; the other two of a scene are one cluster.
    assert all(each.rate.n == 20 and each.rate.value == 1 for each in bias.helpful)
    p = win_p([1.0] * 20, [place // 2 for place in range(20)])
    assert [each.p_holm for each in bias.helpful] == pytest.approx(holm([p] * 3))
    assert not of({"before": {"twin"}, "after": set()}).helpful


def test_everything_has_a_table_and_json() -> None:
    bias = of({"before": {"twin"}, "after": {"bad"}}, compared="tie")
    tables = list(output_tables(bias))
    assert len(tables) == 5
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)
    json.dumps(bias.as_json(), allow_nan=False)


def test_leaves_of_a_finished_evaluation_are_those_in_its_results(tmp_path: Path) -> None:
    data = str(write_spa_vl(tmp_path / "data", 12, 6, images=18))
    with ChatServer(answer) as server:
        models = tuple(f"{name}=openai/{name}@{server.url}" for name in ("one", "two"))
        guard = (f"openai/guard@{server.url}",)
        evaluate(tmp_path / "out", models=models, suite=("harmeval", "helpeval"), data=(data,), guard=guard)
    items = read_items(tmp_path / "out")
    bias = output_bias(items, "one", items, "two")
    stored = {
        (each.cell, each.name): each.micro for each in read_results(tmp_path / "out").rates if each.part == "group"
    }
    assert len(bias.rates) == 2 * 2 * 3
    assert all(each.rate == stored[each.cell, each.leaf] for each in bias.rates)
    # Its images have no twins, and no judge compared the answers.
    assert not bias.twins and not bias.helpful and len(bias.gaps) == 2
