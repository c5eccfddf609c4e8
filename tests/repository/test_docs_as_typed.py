"""The recipes of the docs are followed literally in a copy of the package, and work."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import spavl
from tests.support.benchmark_files import an_image, put, put_csv
from tests.support.evaluations import said, write_spa_vl
from tests.support.repository import ROOT
from tests.support.servers import Body, ChatServer

_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
_EVALUATION = re.compile(r"^spavl eval (.*)$", re.MULTILINE)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy without the miniature's weights, which nothing here needs."""
    copied = tmp_path / "src" / "spavl"
    shutil.copytree(Path(spavl.__file__).parent, copied, ignore=shutil.ignore_patterns("__pycache__", "checkpoint"))
    return copied


def blocks_of(page: str) -> list[str]:
    return _BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


def put_in(file: Path, before: str, lines: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1, before
    file.write_text(text.replace(before, lines + before), encoding="utf-8")


def put_over(file: Path, begins: str, lines: str) -> None:
    """Put lines in place of the one line that begins so."""
    old = file.read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = [number for number, line in enumerate(old) if line.startswith(begins)]
    file.write_text("".join([*old[:place], lines, *old[place + 1 :]]), encoding="utf-8")


def run(package: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(package.parent)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_backend_is_added_as_the_page_says(package: Path, tmp_path: Path) -> None:
    backend, kind, imports, maker, method = blocks_of("add-a-model.md")
    (package / "models" / "backends" / "echo.py").write_text(backend)
    put_in(package / "models" / "uri.py", '    "fixed": "fixed/refuse', kind)
    factory = package / "models" / "factory.py"
    put_in(factory, "from spavl.models.backends.fixed import", imports)
    put_in(factory, '            "fixed": self._fixed_model,\n', maker)
    put_in(factory, "    def _fixed_model(self", method + "\n")
    rows = answers(evaluate_as_on(package, "add-a-model.md", tmp_path))
    assert "What is harm number 1?" in {row["text"] for row in rows if row["model"] == "echo/1"}


@pytest.mark.slow
def test_a_guard_is_added_as_the_page_says(package: Path, tmp_path: Path) -> None:
    guard, imports, listed, *_ = blocks_of("add-a-judge.md")
    (package / "judges" / "guards" / "first_words.py").write_text(guard)
    registry = package / "judges" / "registry.py"
    put_in(registry, "from spavl.judges.guards.keyword import", imports)
    put_in(registry, "    RULES: RuleGuard,\n", listed)
    out = evaluate_as_on(package, "add-a-judge.md", tmp_path)
    given = {"fixed/refuse": {0.0}, "fixed/comply": {1.0}}
    for model, unsafe in given.items():
        assert labels(out, "first-words/refusals@1", model) == unsafe


def test_a_loss_is_added_as_the_page_says(package: Path) -> None:
    loss_types, setting, test, reference_free = blocks_of("add-a-loss.md")
    training = package / "training"
    put_over(training / "objectives" / "losses.py", "LOSS_TYPES: ", loss_types)
    put_over(training / "config.py", "    loss_type: Literal", setting)
    code = f"""
import torch
from spavl.training.config import DPOConfig
from spavl.training.objectives.losses import LOSS_TYPES, LossType, PairScores
assert DPOConfig(loss_type="truncated_square").loss_type in LOSS_TYPES
{test}
test_the_loss_is_one_before_training()
simpo_loss = lambda policy, reference, beta, label_smoothing: policy
assert not ({reference_free.strip()}).needs_reference
print("equal to one")
"""
    assert run(package, code) == "equal to one\n"


def test_a_benchmark_is_added_as_the_page_says(package: Path, tmp_path: Path) -> None:
    benchmark, imported, listed, *_ = blocks_of("add-a-benchmark.md")
    benchmarks = package / "evaluation" / "benchmarks"
    (benchmarks / "kitchen.py").write_text(benchmark)
    put_in(benchmarks / "registry.py", "    mm_safetybench,\n", imported)
    put_in(benchmarks / "registry.py", "        mm_safetybench.BENCHMARK,\n", listed)
    data = tmp_path / "kitchen"
    put(data / "images" / "1.png", an_image(1))
    put_csv(data / "questions.csv", [{"id": 1, "question": "What boils?", "image": "1.png", "category": "pots"}])
    out = tmp_path / "out"
    keywords = ("--guard", "keywords/ordinary@2")
    evaluate(package, "fixed/refuse", "--suite", "kitchen", "--data", f"kitchen={data}", "--out", str(out), *keywords)
    rows = pq.read_table(out / "tables" / "judgements.parquet").to_pylist()
    assert {row["value"] for row in rows if row["measure"] == "refused" and row["model"] == "fixed/refuse"} == {1.0}


@pytest.mark.slow
def test_a_parser_is_changed_as_the_page_says(package: Path, tmp_path: Path) -> None:
    """The new parser reads the stored replies: only the canaries are sent again."""
    asked = Counter[str]()

    def with_equals_signs(body: Body) -> str:
        asked["answers" if "harm number" in said(body) else "canaries"] += 1
        return "verdict = unsafe\nseverity = 2\nrefuses = no"

    line, version, _ = blocks_of("add-a-judge.md")[-3:]
    data, out = write_spa_vl(tmp_path / "data", harm=3, help_=1), tmp_path / "out"
    with ChatServer(with_equals_signs) as server:
        given = ["fixed/comply", "--suite", "harmeval", "--data", f"harmeval={data}", "--out", str(out)]
        given += ["--guard", f"openai/guard@{server.url}", "--canaries", "warn", "--max-invalid", "1"]
        evaluate(package, *given)
        assert labels(out) == {None}
        before = dict(asked)
        put_over(package / "judges" / "response_format.py", "_LINE = ", line)
        put_over(package / "judges" / "response_format.py", "VERSION = ", version)
        evaluate(package, *given)
    assert labels(out) == {1.0}
    assert before["answers"] and asked["answers"] == before["answers"]
    assert asked["canaries"] > before["canaries"]


def labels(out: Path, judge: str = "openai/", model: str = "") -> set[float | None]:
    rows = pq.read_table(out / "tables" / "judgements.parquet").to_pylist()
    named = [row for row in rows if row["judge"].startswith(judge) and row["model"].startswith(model)]
    return {row["value"] for row in named if row["measure"] == "unsafe"}


def answers(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "tables" / "answers.parquet").to_pylist()


def evaluate_as_on(package: Path, page: str, folder: Path) -> Path:
    """The evaluation that a page shows, typed as it stands there; the folder that it wrote."""
    (typed,) = _EVALUATION.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    data, out = write_spa_vl(folder / "data", harm=3, help_=1), folder / "out"
    evaluate(package, *typed.replace("FOLDER", str(data)).split(), "--out", str(out))
    return out


def evaluate(package: Path, *given: str) -> None:
    command = [sys.executable, "-m", "spavl", "eval", *given]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(package.parent)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
