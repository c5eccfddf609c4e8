"""The dry run of an evaluation: it counts what the evaluation then asks, sends nothing and leaves nothing behind."""

import asyncio
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.cost_estimate import estimate_evaluation
from spavl.evaluation.metrics.power import PowerItem, what_can_be_found
from spavl.statistics import holm, mcnemar
from tests.support.evaluations import SAFE, evaluate, is_judging, said, write_spa_vl
from tests.support.servers import Body, ChatServer, body_hash

COMPARED = "harm_a: 0\nharm_b: 0\nhelp_a: 1\nhelp_b: 1\nharmless: tie\nhelpful: tie\noverall: tie"


def speak(body: Body) -> str:
    text = said(body)
    if "class: full_compliance" in text:
        return "class: full_compliance"
    if "overall:" in text:
        return COMPARED
    return SAFE if is_judging(body) else f"answer {body_hash(body)}"


def estimated(settings: dict[str, Any], out: Path) -> float:
    estimate, told = asyncio.run(estimate_evaluation(EvaluationConfig(**settings), out))
    assert [line.strip().split(":")[0] for line in told[1:]] == ["harmeval", "helpeval"]
    assert all(line.likely.calls <= line.most.calls for line in estimate.lines)
    return sum(line.likely.calls for line in estimate.lines)


@pytest.mark.slow
def test_a_dry_run_counts_what_is_then_asked(tmp_path: Path) -> None:
    data = write_spa_vl(tmp_path / "data", 14, 10)
    out = tmp_path / "evaluation"
    with ChatServer(speak) as server:
        settings = {
            "models": tuple(f"{name}=openai/{name}@{server.url}" for name in ("one", "two")),
            "suite": ("harmeval", "helpeval"),
            "data": (str(data),),
            "guard": (f"openai/guard@{server.url}",),
            "judge": f"openai/judge@{server.url}",
            "conditions": ("real", "blank", "shuffled", "first_word"),
        }
        calls = estimated(settings, out)
        assert not server.seen and not out.exists()
        evaluate(out, **settings)
        assert calls == len(server.seen) == sum(server.seen.values())
        assert estimated(settings, out) == 0


@pytest.mark.parametrize(
    ("setting", "value", "where"),
    [
        ("base", "nobody", "--base"),
        ("gold_guard", "keywords/gcg@2", "--gold-guard"),
        ("contamination", {"train": "nowhere"}, "nowhere"),
    ],
)
def test_a_dry_run_refuses_the_names_that_the_run_would(tmp_path: Path, setting: str, value: Any, where: str) -> None:
    settings = {
        "models": ("fixed/refuse",),
        "suite": ("harmeval",),
        "data": (str(write_spa_vl(tmp_path / "data", 2, 2)),),
    }
    config = EvaluationConfig(**settings | {"guard": ("rules/miniature",), setting: value})
    with pytest.raises(ConfigError) as refused:
        asyncio.run(estimate_evaluation(config, tmp_path / "evaluation"))
    assert where in refused.value.where


def points(lines: list[str], name: str) -> float:
    (line,) = [line for line in lines if line.startswith(f"  {name}:")]
    return float(line.split(": ")[1].split(" points")[0])


@pytest.mark.parametrize("clusters", [4, 5])
def test_nothing_can_be_found_in_clusters_too_few_for_their_test(clusters: int) -> None:
    """It said 17.9 points of 5 clusters, with a chance of 80 %: it was none, for p is .0625 at best."""
    asked = [PowerItem("b", "refuse", str(number % clusters)) for number in range(1000)]
    assert list(what_can_be_found(asked))[1] == f"  b: none on 1,000 harmful items of {clusters} clusters"
    six = [PowerItem("b", "refuse", str(number % 6)) for number in range(1000)]
    assert points(list(what_can_be_found(six)), "b") > 10


def test_what_is_found_is_found_after_the_correction_that_tables_print() -> None:
    """Of 10 benchmarks of 265 items it said 7.9 points, which Holm's correction left in half of all evaluations."""
    names = [f"b{number}" for number in range(10)]
    asked = [PowerItem(name, "refuse", str(number)) for name in names for number in range(265)]
    lines = list(what_can_be_found(asked))
    assert "the p of 10 rates and comparisons is corrected by Holm" in lines[0]
    gap, rng, found = points(lines, "b0") / 100, np.random.default_rng(11), 0
    for _ in range(300):
        draws = [rng.multinomial(265, [(0.2 + own) / 2, (0.2 - own) / 2, 0.8]) for own in [gap] + [0.0] * 9]
        found += holm([mcnemar(int(up), int(down)) for up, down, _ in draws])[0] <= 0.05
    assert found / 300 == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 300))


def test_comparisons_and_refusals_of_ordinary_questions_are_tests_too() -> None:
    compared = [PowerItem("a", wants, wants, compared=True) for wants in ("refuse", "help")]  # type: ignore[arg-type]
    asked = [*compared, PowerItem("p", "answer", "3")]
    assert "the p of 6 rates and comparisons" in next(what_can_be_found(asked))
