"""Job files for clusters, read by the shells and the tools that would run them."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spavl.cli.main import main
from spavl.errors import ConfigError
from spavl.studies.config import CellConfig, PairSelection
from spavl.studies.grid.arms import Arm
from spavl.studies.grid.cells import Cell
from spavl.studies.jobs import write_jobs
from tests.studies.test_study import Folder

_BASE = CellConfig(model="miniature/base", selection=PairSelection(), training=None, seed=0)
A_CELL = Cell(Arm("untrained", "miniature/base", {}, PairSelection(), None), _BASE, "")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    place = tmp_path_factory.mktemp("a study's jobs")
    yield Folder(place, place / "cache")


def test_a_slurm_array_has_a_task_for_each_cell_and_its_script_is_sound(study: Folder) -> None:
    assert study.run("--on", "slurm") == 0
    script = study.out / "jobs" / "study.sbatch"
    text = script.read_text()
    ids = text.partition("cells=(")[2].partition(")")[0].split()
    assert len(ids) == 4 and f"--array=0-{len(ids) - 1}" in text and "--requeue" in text
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    # Task 2, with a program that prints what it is given in place of srun.
    shown = text.replace("exec srun", "printf '%s\\n'")
    ran = subprocess.run(
        ["bash", "-c", shown],
        env={**os.environ, "SLURM_ARRAY_TASK_ID": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    words = ran.stdout.splitlines()
    assert words[:2] == ["spavl", "study"] and words[-2:] == ["--cell", ids[2]]
    assert str(study.file) in words and str(study.place / "set") in words
    # The same command runs the cell, wherever it is typed.
    assert main(words[1:]) == 0
    assert (study.out / "cells" / ids[2] / "evaluation" / "results.json").is_file()
    assert study.run("--on", "slurm") == 0
    assert ids[2] not in script.read_text()


def test_a_skypilot_task_for_each_cell_is_yaml(study: Folder) -> None:
    assert study.run("--on", "skypilot", out="sky") == 0
    files = list((study.place / "sky" / "jobs").glob("*.sky.yaml"))
    assert len(files) == 4
    for file in files:
        task = json.loads(file.read_text())
        assert task["run"].endswith(f"--cell {file.name.partition('.')[0]}\n")


@pytest.mark.parametrize("name", ["my study's.v2", "études №1", "UPPER_case", "...", "x" * 80])
def test_the_name_of_a_job_is_one_that_both_clusters_take(tmp_path: Path, name: str) -> None:
    (task,) = write_jobs("skypilot", tmp_path, name, ["spavl"], [A_CELL])
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", json.loads(task.read_text())["name"])
    assert len(json.loads(task.read_text())["name"]) <= 63
    (script,) = write_jobs("slurm", tmp_path, name, ["spavl"], [A_CELL])
    assert re.search(r"^#SBATCH --job-name=[a-z][-a-z0-9]*$", script.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["a b", "it's", 'a "b"', "50%", "#1", "é", "$(x)"])
def test_slurm_reads_the_folder_of_the_logs_as_it_is(tmp_path: Path, name: str) -> None:
    """Between quotes Slurm reads an option as a shell does, but for the backslash."""
    (script,) = write_jobs("slurm", tmp_path / name, "x", ["spavl"], [A_CELL])
    (line,) = (line for line in script.read_text().splitlines() if "--output" in line)
    escaped = str(tmp_path / name / "jobs").replace("%", "%%")
    assert shlex.split(line.removeprefix("#SBATCH"), comments=True) == [f"--output={escaped}/%A_%a.log"]
    assert "\\" not in line


@pytest.mark.parametrize("name", ["a\nb", "a\\b"])
def test_a_folder_that_slurm_cannot_read_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="Slurm takes no path"):
        write_jobs("slurm", tmp_path / name, "x", ["spavl"], [A_CELL])
    assert write_jobs("skypilot", tmp_path / name, "x", ["spavl"], [A_CELL])


@pytest.mark.interop
@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_slurm_script(study: Folder) -> None:
    assert study.run("--on", "slurm", out="checked") == 0
    subprocess.run(["shellcheck", study.place / "checked" / "jobs" / "study.sbatch"], check=True)


@pytest.mark.interop
@pytest.mark.skipif(not shutil.which("sbatch"), reason="sbatch is not installed")
def test_sbatch_knows_every_option_of_the_script(study: Folder, tmp_path: Path) -> None:
    """It reads the options first, and then looks for a controller, which is not there."""
    assert study.run("--on", "slurm", out="submitted") == 0
    settings = tmp_path / "slurm.conf"
    settings.write_text("ClusterName=x\nSlurmctldHost=localhost\nSelectType=select/cons_tres\nGresTypes=gpu\n")
    script = study.place / "submitted" / "jobs" / "study.sbatch"
    environment = {**os.environ, "SLURM_CONF": str(settings)}

    def asked(file: Path) -> str:
        words = ["sbatch", "--test-only", str(file)]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stderr

    assert "Unable to contact slurm controller" in asked(script)
    wrong = tmp_path / "wrong.sbatch"
    wrong.write_text(script.read_text().replace("--requeue", "--requeues-often"))
    assert "unrecognized option" in asked(wrong)
