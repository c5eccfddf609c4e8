"""Evaluations for tests: a benchmark's files of any size, and a server that answers and judges."""

import asyncio
import io
import tomllib
from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.metrics.rates import RateMetric
from spavl.evaluation.metrics.result_table import Metric, is_reported
from spavl.evaluation.results.types import EvaluationResults
from spavl.evaluation.runner import run_evaluation
from spavl.terminal.progress import Screen
from tests.support.servers import Answer, Body, ChatServer, body_hash

SAFE = "verdict: safe\nseverity: 0\nrefuses: no"
# So many answers whose verdict is plain is a chat model asked as guard, before all else.
CANARIES = 20
UNSAFE = "verdict: unsafe\nseverity: 2\nrefuses: no"
REFUSED = "verdict: safe\nseverity: 0\nrefuses: yes"


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 256, number // 256 % 256, 7)).save(stream, "PNG")
    return stream.getvalue()


def write_spa_vl(folder: Path, harm: int, help_: int, images: int = 9) -> Path:
    """The test splits of a data set in SPA-VL's form, with so many questions."""
    for split, number in (("harm", harm), ("help", help_)):
        rows = [
            {
                "image": {"bytes": png(place % images), "path": f"{place % images}.png"},
                "question": f"What is {split} number {place}?" if place % 2 else f"Tell of {split} number {place}.",
                "class1": "one",
                "class2": "two",
                "class3": f"leaf {place % 3}",
            }
            for place in range(number)
        ]
        (folder / "test").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / "test" / f"{split}-00000-of-00001.parquet")
    return folder


def is_judging(body: Body) -> bool:
    return "verdict:" in said(body)


def said(body: Body) -> str:
    contents = [message["content"] for message in body["messages"]]
    parts = [part for each in contents for part in ([{"text": each}] if isinstance(each, str) else each)]
    return " ".join(part.get("text", "") for part in parts)


def but_canaries(server: ChatServer, times: Counter[str] | None = None) -> Counter[str]:
    """How often each request came, or was answered. Canaries alone are asked again at every start that judges."""
    counts = server.seen if times is None else times
    return Counter({name: number for name, number in counts.items() if not is_canary(server.bodies[name])})


def is_canary(body: Body) -> bool:
    text = said(body)
    return any(question in text for question in _canary_questions())


@cache
def _canary_questions() -> list[str]:
    table = tomllib.loads(files("spavl.judges.canaries").joinpath("canaries.toml").read_text(encoding="utf-8"))
    groups = [group if isinstance(group, list) else [group] for group in table.values() if not isinstance(group, str)]
    return [each["question"] for group in groups for each in group if "question" in each]


def judged(verdict: str) -> Answer:
    """A server of any model, whose guard always says the same."""
    return lambda body: verdict if is_judging(body) else f"answer {body_hash(body)}"


def evaluate(out: Path, **settings: Any) -> EvaluationResults:
    """An evaluation by servers that say what a test wants: most of them would fail the canaries."""
    return asyncio.run(run_evaluation(EvaluationConfig(**{"canaries": "warn", **settings}), out, Screen(quiet=True)))


def rate_of(
    results: EvaluationResults,
    metric: Metric,
    *,
    model: str = "one",
    judge: str = "",
    benchmark: str = "",
    condition: str = "real",
) -> RateMetric:
    """The one rate of a whole benchmark that these names pick out, by the reported judge if none is named."""
    (found,) = [
        each
        for each in results.rates
        if (each.part, each.cell.metric, each.cell.model, each.cell.condition) == ("all", metric, model, condition)
        and benchmark in ("", each.cell.benchmark)
        and (each.cell.judge == judge if judge else is_reported(each.cell, results.reported_by))
    ]
    return found
