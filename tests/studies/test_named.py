"""The studies that ship: their files are sound, and each of them runs in its small form."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from spavl.cli.main import main
from spavl.errors import ConfigError
from spavl.pipeline.build import run_build
from spavl.pipeline.settings import DEMO, demo_table, read_config
from spavl.studies.config import AxesConfig
from spavl.studies.data import StudyData, open_data
from spavl.studies.grid.arms import grid_of
from spavl.studies.named import read_study, study_names
from spavl.terminal.progress import Screen
from tests.pipeline.test_demo import FEW_IMAGES
from tests.support.studies import write_study_data

NAMED = {"backbones", "bias", "holdout", "labels", "pool-size", "questions", "release", "responses", "scale", "tax"}


def test_the_studies_of_the_paper_and_of_its_readers_ship() -> None:
    assert NAMED | {"architecture", "first-three"} == set(study_names())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyData]:
    folder = tmp_path_factory.mktemp("arms")
    with open_data({"": str(write_study_data(folder / "set"))}, folder / "study", Screen(quiet=True)) as opened:
        yield opened[""]


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", study_names())
def test_every_arm_of_a_study_is_a_setting_that_exists(name: str, quick: bool, data: StudyData) -> None:
    """What needs labels, kinds of questions or many images is tried in the slow test."""
    config = read_study(name, quick, {"model": "miniature/base", "data": "set"})
    assert config.question.endswith("?") or name == "first-three"
    if name not in ("responses", "first-three", "pool-size", "labels", "questions", "bias"):
        arms = [arm.name for arm in grid_of(config, {"": data}).arms]
        assert len(arms) == len(set(arms)) >= 2
        assert config.control in arms
        assert all(each.lower in arms and each.higher in arms for each in config.expectations if not quick)


@pytest.mark.parametrize("preset", ["miniature", "spa-vl", "spa-vl-lora"])
def test_a_factor_multiplies_what_the_preset_has(preset: str, data: StudyData) -> None:
    config = read_study("tax", False, {"model": "miniature/base", "data": "set", "preset": preset})
    rates: dict[str, set[float]] = {}
    for arm in grid_of(config, {"": data}).arms:
        if arm.training is not None:
            rates.setdefault(arm.levels["training.loop.learning_rate"], set()).add(arm.training.loop.learning_rate)
    assert rates.keys() == {"x1", "x3"}
    ((one,), (three,)) = rates["x1"], rates["x3"]
    assert three == pytest.approx(3 * one)


@pytest.mark.parametrize("model", ["miniature/base", "hf/some/model"])
def test_lora_has_the_learning_rate_of_lora_beside_the_whole_model(model: str, data: StudyData) -> None:
    """In the paper that of DPO is 2e-5 with LoRA and 1e-6 without it."""
    config = read_study("architecture", False, {"model": model, "data": "set"})
    arms = {arm.name: arm.training for arm in grid_of(config, {"": data}).arms if arm.training is not None}
    lora, full = arms["LoRA"].loop.learning_rate, arms["projector and language model"].loop.learning_rate
    assert lora / full == pytest.approx(20)
    assert arms["no projector"].loop.learning_rate == full


def test_a_small_form_that_is_no_section_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("quick = 5\n[arms.a]\n")
    with pytest.raises(ConfigError, match="quick is a section"):
        read_study(str(file), True, {})


def test_a_factor_of_nothing_is_refused(data: StudyData) -> None:
    config = read_study("tax", False, {"model": "miniature/base", "data": "set"})
    config = config.model_copy(update={"axes": AxesConfig(training={"trainable": {"lora_rank": ["x2"]}})})
    with pytest.raises(ConfigError, match="of what"):
        grid_of(config, {"": data})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("named") / "demo"
    config = read_config(demo_table("dpo"), FEW_IMAGES, where=DEMO)
    asyncio.run(run_build(config, out, "dataset", Screen(quiet=True)))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", study_names())
def test_the_small_form_of_every_study_runs(name: str, run: Path, tmp_path: Path) -> None:
    words = ["--model", "miniature/base", "--data", str(run), "--guard", "rules/miniature", "--max-tokens", "32"]
    small = ["--measure.limit", "20", "--max-invalid", "1"]
    assert main(["study", name, "--quick", "--out", str(tmp_path), *words, *small]) == 0
    results = json.loads((tmp_path / "study.json").read_text())
    assert {cell["state"] for cell in results["cells"]} == {"done"}
    assert any(rate["name"]["metric"] == "unsafe" for rate in results["rates"])
    assert results["sentences"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bias", "tax"])
def test_with_a_judge_arms_are_compared_with_the_untrained_model_which_is_not_asked_again(
    name: str, run: Path, tmp_path: Path
) -> None:
    words = ["--model", "miniature/base", "--data", str(run), "--guard", "rules/miniature", "--max-tokens", "32"]
    small = ["--measure.limit", "20", "--max-invalid", "1", "--judge", "rules/miniature"]
    assert main(["study", name, "--quick", "--out", str(tmp_path), *words, *small]) == 0
    results = json.loads((tmp_path / "study.json").read_text())
    untrained, *trained = results["cells"]
    asked = _times_asked(tmp_path, untrained["id"])
    assert asked
    for cell in trained:
        assert asked.items() <= _times_asked(tmp_path, cell["id"]).items()
        assert {"win_rate", "harm_score"} <= {rate["name"]["metric"] for rate in cell["rates"]}
    assert not {"win_rate"} & {rate["name"]["metric"] for rate in untrained["rates"]}
    told = {each["arm"] for each in results["front"]} if name == "tax" else {cell["arm"] for cell in results["cells"]}
    assert told == set(results["arms"])
    # The same study without the judge: the same folder, and nothing is trained again.
    attempts = {file: file.read_text() for file in tmp_path.glob("cells/*/attempts.jsonl")}
    assert main(["study", name, "--quick", "--out", str(tmp_path), *words, *small[:4]]) == 0
    assert {file: file.read_text() for file in tmp_path.glob("cells/*/attempts.jsonl")} == attempts
    assert "win_rate" not in {
        rate["name"]["metric"] for rate in json.loads((tmp_path / "study.json").read_text())["rates"]
    }


def _times_asked(study: Path, cell: str) -> dict[str, float]:
    """When each answer was asked for, by the hash of the request."""
    with sqlite3.connect(study / "cells" / cell / "evaluation" / "ledger" / "calls.sqlite") as opened:
        return dict(opened.execute("SELECT key, at FROM calls WHERE stage = 'answers'"))
