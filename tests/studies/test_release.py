"""An arm that goes on with the trained model of another arm: the later release of a data set."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from spavl.cli.main import main
from spavl.models.factory import miniature_checkpoint
from tests.support.studies import GUARD, write_study_data

# The second release has a learning rate that moves no weight by as much as the test allows.
STUDY = """
question = "Does it keep the first release?"
analysis = "unseen"
seeds = [1]
control = "first"
[training]
batch_size = 6
loop.warmup_steps = 0
{trainable}
[arms.first]
selection.without = "one domain"
training.loop.learning_rate = 1e-2
[arms."second on top"]
after = "first"
selection.only = "one domain"
training.loop.learning_rate = 1e-12
"""
LORA = """
trainable.projector = false
trainable.language = "lora"
trainable.lora_rank = 2
"""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in folder.glob("model*.safetensors") for name, value in load_file(file).items()}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["", LORA], ids=["whole", "adapter"])
def test_it_begins_with_the_weights_of_the_other_arm_even_if_it_is_run_alone(tmp_path: Path, trainable: str) -> None:
    data, out, file = write_study_data(tmp_path / "set"), tmp_path / "study", tmp_path / "release.toml"
    file.write_text(STUDY.format(trainable=trainable))
    words = ["study", str(file), "--model", "miniature/base", "--data", str(data), "--out", str(out), "--guard", GUARD]
    words += ["--suite", "harmeval,helpeval", "--benchmarks", str(data), "--max-tokens", "8"]
    # As a job of a cluster: the id of the cell that begins with the other one.
    assert main([*words, "--cell", "0"]) == 2
    assert main(words) == 0
    first, second = json.loads((out / "study.json").read_text())["cells"][1:]
    alone = tmp_path / "alone"
    assert main([str(alone) if word == str(out) else word for word in words] + ["--cell", second["id"]]) == 0
    states = [each["state"] for each in json.loads((alone / "study.json").read_text())["cells"]]
    assert states == ["not run", "done", "done"]

    base = weights(Path(miniature_checkpoint("base")))
    for place in (out, alone):
        checkpoints = place / "cells" / first["id"] / "checkpoints"
        earlier = weights(checkpoints / ("merged" if trainable else "aligned"))
        if trainable:
            # An adapter on top of the merged model, whose own part is next to nothing.
            settings = json.loads(
                (place / "cells" / second["id"] / "checkpoints/aligned/adapter_config.json").read_text()
            )
            assert settings["base_model_name_or_path"] == str(checkpoints / "merged")
        else:
            later = weights(place / "cells" / second["id"] / "checkpoints" / "aligned")
            assert distance(earlier, later) < 1e-6
        assert distance(earlier, base) > 1e-3


def test_the_rates_are_split_by_the_leaves_that_the_first_release_lacks(tmp_path: Path) -> None:
    data, out, file = write_study_data(tmp_path / "set"), tmp_path / "study", tmp_path / "release.toml"
    # All test questions of this data set are about one leaf of this domain.
    file.write_text(STUDY.format(trainable="").replace('"one domain"', '["domain one"]'))
    words = ["study", str(file), "--model", "miniature/base", "--data", str(data), "--out", str(out), "--guard", GUARD]
    assert main([*words, "--suite", "harmeval,helpeval", "--benchmarks", str(data), "--max-tokens", "8"]) == 0
    differences = json.loads((out / "study.json").read_text())["differences"]
    parts = {(each["arm"], each["name"]["part"]) for each in differences}
    assert parts == {(arm, part) for arm in ("untrained", "second on top") for part in ("all", "unseen leaves")}


def test_an_arm_whose_parent_has_failed_is_not_trained_and_the_parent_keeps_its_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out, file = write_study_data(tmp_path / "set"), tmp_path / "study", tmp_path / "release.toml"
    # The first arm alone asks for more blocks of the vision tower than there are.
    too_many = "learning_rate = 1e-2\ntraining.trainable.vision = 99"
    file.write_text(STUDY.format(trainable="").replace("learning_rate = 1e-2", too_many))
    words = ["study", str(file), "--model", "miniature/base", "--data", str(data), "--out", str(out), "--guard", GUARD]
    words += ["--suite", "harmeval,helpeval", "--benchmarks", str(data), "--max-tokens", "8"]
    for _ in range(2):
        assert main(words) == 2
        cells = json.loads((out / "study.json").read_text())["cells"]
        assert [cell["state"] for cell in cells] == ["done", "failed", "failed"]
        assert "blocks of this vision tower" in cells[1]["failure"]
        assert "goes on with has failed: first, seed 1" in cells[2]["failure"]
        assert not (out / "cells" / cells[2]["id"] / "attempts.jsonl").exists()
    # As a job of a cluster: its own cell fails, and the parent's failure is the reason.
    assert main([*words, "--cell", cells[2]["id"]]) == 2
    assert "goes on with has failed" in capsys.readouterr().err
    # A helper that begins when another one has already failed at these cells.
    failures = {file: file.stat().st_mtime_ns for file in out.glob("cells/*/failed.txt")}
    began = (out / "study.toml").stat().st_mtime
    helper = [sys.executable, "-m", "spavl", "study", str(out / "study.toml"), "--out", str(out), "--helper"]
    # Its input stays open, at whose end it would stop.
    with subprocess.Popen([*helper, repr(began)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.wait() == 0
    assert {file: file.stat().st_mtime_ns for file in out.glob("cells/*/failed.txt")} == failures


def test_an_arm_that_stands_nowhere_before_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = write_study_data(tmp_path / "set"), tmp_path / "release.toml"
    file.write_text(STUDY.format(trainable="").replace('after = "first"', 'after = "fist"'))
    words = ["study", str(file), "--model", "miniature/base", "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*words, "--guard", GUARD]) == 2
    assert "did you mean first" in capsys.readouterr().err
