"""The benchmark at the shapes of 7B models can be gone through, and never shows a figure that was not measured."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.repository import ROOT

_NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


def told(*options: str, environment: Mapping[str, str] = _NO_GPU) -> list[dict[str, Any]]:
    """What the benchmark prints."""
    command = [sys.executable, "-m", "benchmarks.dpo_gpu", *options]
    told_in = {**os.environ, **environment}
    done = subprocess.run(command, cwd=ROOT, env=told_in, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_without_a_gpu_every_line_says_that_nothing_was_measured() -> None:
    lines = told()
    assert len(lines) == 10
    for line in lines:
        assert line["ratio"] is None and line["why"].startswith("not measured")
        assert line.keys() <= {"name", "shape", "parts", "ratio", "why", "device"}


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["llava-1.5-7b", "qwen2.5-vl-7b"])
def test_trees_of_the_shape_are_its_plain_rows(shape: str) -> None:
    (line,) = told("--one", "apart", "--shapes", shape, "--narrow")
    assert line["log_probabilities"] < 1e-5 and line["gradients"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("parts", ["lora", "full"])
@pytest.mark.parametrize("shape", ["llava-1.5-7b", "qwen2.5-vl-7b"])
def test_our_side_of_the_way_can_be_gone(shape: str, parts: str) -> None:
    (line,) = told("--one", "ours", "--shapes", shape, "--parts", parts, "--steps", "3", "--narrow")
    assert line["losses"][0] == pytest.approx(0.6931, abs=1e-3)
    assert len(line["live"]) == len(line["cached"]) == 2 and min(line["cached"]) > 0
    assert all(live > cached for live, cached in zip(line["live"], line["cached"], strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("parts", ["lora", "full"])
@pytest.mark.parametrize("shape", ["llava-1.5-7b", "qwen2.5-vl-7b"])
def test_both_sides_go_on_a_gpu(shape: str, parts: str) -> None:
    """With narrow models, whose figures say nothing."""
    lines = told("--shapes", shape, "--parts", parts, "--steps", "4", "--narrow", environment={})
    apart, *compared = lines
    assert apart["log_probabilities"] < 1e-4 and apart["gradients"] < 1e-4
    for line in compared:
        assert line["ratio"] > 0 and line["peak_gb"] > 0 and line["losses_apart"] < 0.02
